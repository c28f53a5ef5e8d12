"""`dry_run=true`: what is there, what would be made, and how long that took before."""

import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ...core.artefact import MANIFEST, read_manifest
from ...core.errors import UserError
from ...evaluation.tables import TextTable

if TYPE_CHECKING:
    from .base import Stage


def plan_table(stages: Sequence["Stage"]) -> TextTable:
    """Returns a line for each stage: what it reads, whether it is there, the median time of earlier ones like it."""
    rows, total = [], 0.0
    first: dict[Path, Stage] = {}  # two stages may be one artefact: the user encoder is often the baseline
    for stage in stages:
        reason, same = stage.why_to_make_now(), first.setdefault(stage.folder, stage)
        before = list(_seconds_before(same)) if reason else []
        total += statistics.median(before) if before and same is stage else 0.0
        state = "there" if reason is None else f"to be made: {reason}"
        time = "" if reason is None else f"{statistics.median(before):,.0f} s" if before else "not known yet"
        reads = ", ".join(dict.fromkeys(each.title for each in stage.inputs()))
        name = stage.folder.name if stage.is_named else "named once the language model is there"
        rows.append([stage.label, reads, name, state, time])
    header = ["Stage", "reads", "artefact", "state", "time, as before"]
    return TextTable(f"Plan: about {total:,.0f} s for what has been timed before", header, rows)


def show_plan(stages: Sequence["Stage"]) -> None:
    """Prints the plan, and below it what else the stages will take that are to be made."""
    plan_table(stages).show()
    for stage in stages:
        if stage.why_to_make_now() is not None:
            for line in stage.forecast():
                print(line)


def _seconds_before(stage: "Stage") -> Iterator[float]:
    """Yields how long stages of this title took whose artefacts lie beside this one's."""
    for path in stage.folder.parent.glob(f"*/{MANIFEST}"):
        try:
            manifest = read_manifest(path.parent)
        except UserError:  # somebody else's, or damaged: it tells no time
            continue
        if manifest.get("stage") == stage.title and "seconds_of_stage" in manifest:
            yield manifest["seconds_of_stage"]
