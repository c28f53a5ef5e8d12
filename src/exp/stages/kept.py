"""What a run's folder keeps of the artefacts behind its models, so that its report can be made again without them."""

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ...core.artefact import MANIFEST, read_manifest, write_json
from ...core.errors import UserError
from ...report.names import MADE_FROM, METRICS
from ..program.run import Run
from .base import Stage
from .evaluations import LISTS, Evaluation

TOLD = ("kind", "seed", "result", "tokens_read", "num_examples", "k")  # of a manifest


def keep_for_report(run: Run, evaluations: Sequence[Evaluation]) -> None:
    """Copies every model's lists beside its figures in `metrics/`, and writes `made_from.json`: where the prepared
    dataset lies, and results, learning curves and costs of all that the models were made from.

    Args:
        run: Whose folder.
        evaluations: Of every training of every model; their figures are there already.
    """
    metrics = run.dir / METRICS
    for evaluation in evaluations:
        shutil.copyfile(evaluation.folder / LISTS, (metrics / evaluation.file).with_suffix(".safetensors"))
    behind: dict[Path, Stage] = {}  # two stages may be one artefact: it is called by what comes first in the tables
    for evaluation in evaluations:
        for stage in _behind(evaluation):
            behind.setdefault(stage.folder, stage)
    prepared = run.settings.paths.processed_dir / run.settings.dataset.name / evaluations[0].prepared.fingerprint
    about = {
        "program": run.stopwatch.git,  # as it was when the run began
        "dataset_folder": str(prepared),
        "history_buckets": run.settings.metrics.history_buckets,
        "artefacts": {folder.name: _about(stage) for folder, stage in behind.items() if (folder / MANIFEST).is_file()},
    }
    write_json(metrics / MADE_FROM, about)


def _behind(stage: Stage) -> Iterator[Stage]:
    """All that a stage is made from, the first made first; of what a folder that the config names was made from nothing
    is known: the stage's inputs would be those of our own.
    """
    for each in stage.inputs() if stage.given is None else ():
        yield from _behind(each)
        yield each


def _about(stage: Stage) -> dict[str, Any]:
    """What a manifest says; but what the artefact is in this run, since another may have made it as something else."""
    manifest = read_manifest(stage.folder)
    told = {"kind": "", "seed": 0, "result": {}} | {name: manifest[name] for name in TOLD if name in manifest}
    return {"stage": stage.title, **told, "seconds": _seconds(manifest)}


def _seconds(manifest: dict[str, Any]) -> float:
    """Returns what a making took: `seconds_of_stage` is of its last start alone; a learning curve, and the sum over
    parts of teacher outputs, go on over breaks.
    """
    curve = manifest.get("result", {}).get("curve", [])
    all_starts = [manifest.get("seconds", 0.0), *(point["seconds"] for point in curve[-1:])]
    return max(manifest.get("seconds_of_stage", 0.0), *all_starts)


def newest_run(own: Path) -> Path:
    """Returns the newest folder that ranked models of those beside `own`, the folder of a run.

    Raises:
        UserError: There is none.
    """
    beside = [path for path in own.parent.glob("result_*") if path != own and (path / METRICS / MADE_FROM).is_file()]
    if not beside:
        raise UserError(
            f"No folder in {own.parent} holds a run that ranked models: name one, report.runs='[result/result_<time>]'."
        )
    return max(beside, key=lambda path: (path / METRICS / MADE_FROM).stat().st_mtime)
