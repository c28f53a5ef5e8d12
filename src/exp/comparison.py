"""Ranks the same test users with every model of the road and tells the result in tables."""

import logging
from collections.abc import Callable
from pathlib import Path

from torch import Tensor, nn

from ..core.artefact import write_json
from ..core.dataset import Dataset, ExampleBatch
from ..core.metrics import check_cut_offs
from ..core.precision import autocast, best_device, resolve_precision
from ..core.slices import slice_metrics, slicings
from ..student.evaluator import Scorer, evaluate
from ..student.popularity import Popularity
from ..student.store import load_student
from .artefacts import baseline_folder, distilled_folder, existing
from .evaluation_tables import Row, metrics_table, slices_markdown
from .run import Run
from .significance import Model, check_compared, compare
from .stages import eval_rows, load_teacher

SPLIT = "test"

log = logging.getLogger(__name__)


def check_metrics(run: Run, dataset: Dataset) -> None:
    """Makes sure that every metric of the config means something in this catalogue, before anything trains.

    Raises:
        UserError: Some K is larger than the catalogue, or `compare.metrics` names an unknown metric.
    """
    metrics = run.settings("metrics")
    check_cut_offs(f"metrics.ks={metrics['ks']}", metrics["ks"], dataset.num_items)
    check_cut_offs(f"metrics.slice_k={metrics['slice_k']}", [metrics["slice_k"]], dataset.num_items)
    check_compared(run, dataset.num_items)


def compare_all(run: Run, dataset: Dataset) -> None:
    """Evaluates popularity, baseline, teacher and distilled student on the test examples.

    Writes into `metrics/`: `<model>.json` (all figures and every user's rank), `table.md`, `slices.md` and
    `comparison.*` (teacher and distilled student against the baseline); prints all but the slices.
    """
    rows = _report(run, dataset, _popularity, _baseline, _teacher, _distilled)
    compare(run, [Model(row.name, [row.evaluation.rank]) for row in rows[1:]], 0, run.dir / "metrics")
    log.info("Written to %s", run.dir)


def evaluate_baseline(run: Run, dataset: Dataset) -> None:
    """Evaluates popularity and baseline on the test examples; writes and prints as `compare_all`, without tests."""
    _report(run, dataset, _popularity, _baseline)
    log.info("Written to %s", run.dir)


def evaluate_teacher(run: Run, dataset: Dataset) -> None:
    """Evaluates popularity and teacher on the test examples; writes and prints as `compare_all`, without tests."""
    _report(run, dataset, _popularity, _teacher)
    log.info("Written to %s", run.dir)


def evaluate_distilled(run: Run, dataset: Dataset) -> None:
    """Evaluates popularity, the baseline where it was trained, and the distilled student on the test examples.

    Writes and prints as `compare_all`; with a baseline the tests, too.
    """
    if baseline_folder(run, dataset).is_dir():
        rows = _report(run, dataset, _popularity, _baseline, _distilled)
        compare(run, [Model(row.name, [row.evaluation.rank]) for row in rows[1:]], 0, run.dir / "metrics")
    else:
        _report(run, dataset, _popularity, _distilled)
    log.info("Written to %s", run.dir)


def _report(run: Run, dataset: Dataset, *models: Callable[[Run, Dataset], Row]) -> list[Row]:
    check_metrics(run, dataset)
    with run.stopwatch.stage("evaluation"):
        rows = [make(run, dataset) for make in models]
    folder = run.dir / "metrics"
    for row in rows:
        _write_metrics(run, dataset, row, folder / f"{row.name.split(' ')[0].lower()}.json")
    title = f"{dataset.name}: {len(dataset.examples[SPLIT]):,} {SPLIT} users, full ranking"
    table = metrics_table(rows, run.cfg.metrics.ks, title)
    (folder / "table.md").write_text(table.markdown(), encoding="utf-8")
    (folder / "slices.md").write_text(slices_markdown(rows), encoding="utf-8")
    table.transposed().show()  # models as columns: four models fit any terminal, twenty figures do not
    return rows


def _popularity(run: Run, dataset: Dataset) -> Row:
    model = Popularity(dataset.train_item_counts())
    return _row(run, dataset, "Popularity", model.score, 1, dataset.num_items)


def _baseline(run: Run, dataset: Dataset) -> Row:
    folder = baseline_folder(run, dataset)
    existing(folder, "trained student", "run_student_baseline", "the student's settings back")
    return _student(run, dataset, folder, "Baseline")


def _distilled(run: Run, dataset: Dataset) -> Row:
    folder = existing(distilled_folder(run, dataset), "distilled student", "run_distill", "its settings back")
    return _student(run, dataset, folder, "Distilled")


def _student(run: Run, dataset: Dataset, folder: Path, name: str) -> Row:
    model = load_student(folder, dataset).to(best_device())

    def score(batch: ExampleBatch) -> Tensor:
        return model.predict(batch.history)

    return _row(run, dataset, f"{name} ({run.cfg.student.name})", score, model.history_length, _count(model))


def _teacher(run: Run, dataset: Dataset) -> Row:
    model = load_teacher(run, dataset).to(best_device())
    name = f"Teacher ({run.cfg.teacher.name}, {run.cfg.teacher.llm.name})"
    with autocast(resolve_precision(run.cfg.teacher.train.precision), best_device()):
        return _row(run, dataset, name, model.score, model.history_length, _count(model))


def _row(run: Run, dataset: Dataset, name: str, score: Scorer, history_length: int, parameters: int) -> Row:
    metrics = run.settings("metrics")
    evaluation = evaluate(
        score,
        dataset,
        SPLIT,
        ks=metrics["ks"],
        history_length=history_length,
        batch_size=eval_rows(run, dataset, metrics["filter_seen"]),
        filter_seen=metrics["filter_seen"],
        device=best_device(),
        title=f"{name}: {SPLIT} users",
    )
    slices = {
        by: slice_metrics(evaluation.rank, slicing, metrics["slice_k"])
        for by, slicing in slicings(dataset, SPLIT, metrics["history_buckets"]).items()
    }
    return Row(name, evaluation, slices, parameters)


def _count(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def _write_metrics(run: Run, dataset: Dataset, row: Row, path: Path) -> None:
    about = {
        "model": row.name,
        "parameters": row.parameters,
        "dataset": dataset.name,
        "dataset_fingerprint": dataset.fingerprint,
        "num_items": dataset.num_items,
        "split": SPLIT,
        "filter_seen": run.cfg.metrics.filter_seen,
    }
    write_json(path, {**about, "slices": row.slices, **row.evaluation.to_json()})
