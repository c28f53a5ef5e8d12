"""Evaluations → the tables of a run, in its folder and on the terminal."""

import logging
import shutil
from collections.abc import Sequence

from ...core.artefact import write_text
from ...evaluation.comparison import tables
from ...evaluation.model_tables import mean_of_trainings, metrics_table, slices_markdown
from ...evaluation.tables import users_told
from ...evaluation.verdict import verdict
from ...report.names import PROBE, SUBJECTS
from ..program.run import Run
from .evaluations import METRICS, SPLIT, Comparison, Evaluation, every
from .kept import keep_for_report
from .teacher.probe import Probe

KNOWN = [
    *(f"{subject}{seed}.json" for subject in SUBJECTS for seed in ("", "_seed_*")),
    *(f"comparison.{ending}" for ending in ("md", "tex", "json")),
    "table.md",
    "slices.md",
    "made_from.json",
    PROBE,
    "*.safetensors",
]  # all that a report may write

log = logging.getLogger(__name__)


def report(
    run: Run,
    evaluations: Sequence[Sequence[Evaluation]],
    comparison: Comparison | None = None,
    probes: Sequence[Probe] = (),
) -> None:
    """Writes `metrics/<model>.json`, `table.md`, `slices.md` and `comparison.*` of a run, `report.html` and
    `report.md`; prints tables: first what has intervals, last the verdict.

    Args:
        run: Whose folder and settings.
        evaluations: Of each model, with all of its trainings.
        comparison: Of them, where there is more than one.
        probes: Of the teacher; told where they are made.
    """
    from ...report.report import write_report

    folder = run.dir / "metrics"
    folder.mkdir(exist_ok=True)
    for name in KNOWN:  # a run that is told to write where another did
        for earlier in folder.glob(name):
            earlier.unlink()
    if not run.stopwatch.seconds:  # this run made nothing: the times are of the other
        run.stopwatch.path.unlink(missing_ok=True)
    for trainings in evaluations:
        for evaluation in trainings:
            shutil.copyfile(evaluation.folder / METRICS, folder / evaluation.file)
    for probe in filter(Probe.is_made, probes):
        shutil.copyfile(probe.folder / PROBE, folder / PROBE)
    first = evaluations[0][0]
    user = first.figures["user"]
    most = max(map(len, evaluations))
    seeds = f", means of {most} student seeds" if most > 1 else ""
    title = f"{first.settings.dataset.name}, {SPLIT}: {users_told(len(set(user)), len(user))}, full ranking{seeds}"
    rows = [mean_of_trainings([each.row() for each in trainings]) for trainings in evaluations]
    table = metrics_table(rows, run.settings.metrics.ks, title)
    write_text(folder / "table.md", table.markdown())
    write_text(folder / "slices.md", slices_markdown(rows))
    found = None
    if comparison is not None:
        found = comparison.load()
        for file in comparison.folder.glob("comparison.*"):
            shutil.copyfile(file, folder / file.name)
        for one in tables(found):
            one.show()
    table.transposed().show()  # models as columns: six models fit most terminals, twenty figures do not
    if found is not None:
        print(f"{verdict(found, rows[-1].name)}\n")
    keep_for_report(run, every(evaluations))
    log.info("Written to %s; the report: %s", run.dir, write_report([run.dir], run.dir, run.settings.report))
