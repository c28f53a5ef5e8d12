"""Stored runs → `report.html` and `report.md`; of several, first what sets them apart."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ..core.artefact import write_text
from .blocks import Section
from .markdown import markdown
from .names import PAGE, TEXT
from .page import page
from .sections.cost import cost
from .sections.quality import explanation, quality, verdict_of
from .sections.side_by_side import side_by_side
from .sections.teacher import calibration, experts, reading
from .sections.training import curves
from .sections.users import common, examples, slices
from .settings import ReportSettings
from .stored import StoredRun, read_run


def write_report(folders: Sequence[Path], out: Path, settings: ReportSettings) -> Path:
    """Writes the report of some runs into the folder `out`; returns the page.

    Raises:
        UserError: See `read_run`.
    """
    several = len({folder.name for folder in folders}) < len(folders)  # folders of one name in different places
    runs = [read_run(folder, str(folder) if several else folder.name) for folder in folders]
    verdicts = [verdict_of(run) if len(runs) == 1 else f"{run.name}: {verdict_of(run)}" for run in runs]
    title = f"{runs[0].first.dataset}: what the run found" if len(runs) == 1 else f"{len(runs)} runs side by side"
    told = sections_of(runs, settings)
    write_text(out / TEXT, markdown(title, facts_of(runs), verdicts, told))
    write_text(out / PAGE, page(title, facts_of(runs), verdicts, told))
    return out / PAGE


def sections_of(runs: Sequence[StoredRun], settings: ReportSettings) -> list[Section]:
    """Returns the sections of one run, or those that compare several and then each run's own under its name."""
    if len(runs) == 1:
        return _sections(runs[0], settings)
    told = [side_by_side(runs, settings)]
    for run in runs:
        told += [replace(each, title=f"{run.name}: {each.title}") for each in _sections(run, settings)]
    return told


def _sections(run: StoredRun, settings: ReportSettings) -> list[Section]:
    return [
        quality(run),
        explanation(run),
        curves(run),
        slices(run),
        common(run),
        reading(run),
        experts(run),
        calibration(run),
        cost(run, settings),
        examples(run),
    ]


def facts_of(runs: Sequence[StoredRun]) -> list[tuple[str, str]]:
    """Returns what stands under the title: which run, over which dataset."""
    facts = []
    for run in runs:
        first = run.first
        users = f"{len(set(first.user)):,} test users, {len(first.example_id):,} test interactions"
        seen = "items of the history do not compete" if first.filter_seen else "items of the history compete"
        facts.append((run.name, f"{first.dataset}: {users}, {first.num_items:,} items ranked, {seen}{_commit(run)}"))
    return facts


def _commit(run: StoredRun) -> str:
    git = {} if run.made_from is None else run.made_from.program
    if not git.get("commit"):
        return ""
    return f"; program at {git['commit'][:9]}{', with changes' if git.get('dirty') else ''}"
