"""Evaluations → the tables of a run, in its folder and on the terminal."""

import logging
import shutil
from collections.abc import Sequence

from ...core.artefact import write_text
from ...evaluation.comparison import tables
from ...evaluation.model_tables import metrics_table, slices_markdown
from ...evaluation.tables import users_told
from ..program.run import Run
from .evaluations import METRICS, SPLIT, Comparison, Evaluation
from .kept import keep_for_report

KNOWN = [
    *(f"{subject}.json" for subject in ("popularity", "baseline", "teacher", "distilled")),
    *(f"comparison.{ending}" for ending in ("md", "tex", "json")),
    "table.md",
    "slices.md",
    "made_from.json",
    "*.safetensors",
]  # all that a report may write

log = logging.getLogger(__name__)


def report(run: Run, evaluations: Sequence[Evaluation], comparison: Comparison | None = None) -> None:
    """Writes `metrics/<model>.json`, `table.md`, `slices.md` and `comparison.*` of a run, `report.html` and
    `report.md`; prints all but the slices and the report.
    """
    from ...report.report import write_report

    folder = run.dir / "metrics"
    folder.mkdir(exist_ok=True)
    for name in KNOWN:  # a run that is told to write where another did
        for earlier in folder.glob(name):
            earlier.unlink()
    rows = [each.row() for each in evaluations]
    for evaluation in evaluations:
        shutil.copyfile(evaluation.folder / METRICS, folder / f"{evaluation.subject}.json")
    first = evaluations[0]
    user = first.figures["user"]
    title = f"{first.settings.dataset.name}, {SPLIT}: {users_told(len(set(user)), len(user))}, full ranking"
    table = metrics_table(rows, run.settings.metrics.ks, title)
    write_text(folder / "table.md", table.markdown())
    write_text(folder / "slices.md", slices_markdown(rows))
    table.transposed().show()  # models as columns: four models fit any terminal, twenty figures do not
    if comparison is not None:
        for file in comparison.require().glob("comparison.*"):
            shutil.copyfile(file, folder / file.name)
        for one in tables(comparison.load()):
            one.show()
    keep_for_report(run, evaluations)
    log.info("Written to %s; the report: %s", run.dir, write_report([run.dir], run.dir, run.settings.report))
