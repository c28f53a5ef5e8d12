"""Ranks the same test users with every model of the road and tells the result in one table."""

import logging
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from ..core.artefact import write_json
from ..core.dataset import Dataset, ExampleBatch
from ..core.metrics import check_cut_offs
from ..core.precision import autocast, best_device, resolve_precision
from ..student.evaluator import Evaluation, Scorer, evaluate
from ..student.popularity import Popularity
from ..student.store import load_student
from .artefacts import baseline_folder, distilled_folder, existing
from .run import Run
from .stages import eval_rows, load_teacher

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Row:
    """One model of the table."""

    name: str
    evaluation: Evaluation
    parameters: int


def compare_all(run: Run, dataset: Dataset) -> None:
    """Evaluates popularity, baseline, teacher and distilled student on the test examples.

    Writes `metrics/<model>.json` (metrics and every user's rank) and `metrics/table.md`, and prints the table.
    """
    ks = list(run.cfg.metrics.ks)
    check_cut_offs("metrics.ks", ks, dataset.num_items)
    with run.stopwatch.stage("evaluation"):
        rows = [make(run, dataset) for make in (_popularity, _baseline, _teacher, _distilled)]
    for row in rows:
        file = row.name.split(" ")[0].lower()
        about = {"model": row.name, "dataset_fingerprint": dataset.fingerprint, "parameters": row.parameters}
        write_json(run.dir / "metrics" / f"{file}.json", {**about, **row.evaluation.to_json(ks)})
    _print_table(rows, ks, f"{dataset.name}: {len(dataset.examples['test']):,} test users, full ranking")
    table = run.dir / "metrics" / "table.md"
    table.write_text(_markdown(rows, ks), encoding="utf-8")
    log.info("Written to %s", run.dir)


def _popularity(run: Run, dataset: Dataset) -> Row:
    model = Popularity(dataset.train_item_counts())
    return Row("Popularity", _evaluate(run, dataset, model.score, 1, "popularity"), dataset.num_items)


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

    evaluation = _evaluate(run, dataset, score, model.history_length, name.lower())
    return Row(f"{name} ({run.cfg.student.name})", evaluation, _count(model))


def _teacher(run: Run, dataset: Dataset) -> Row:
    model = load_teacher(run, dataset).to(best_device())
    with autocast(resolve_precision(run.cfg.teacher.train.precision), best_device()):
        evaluation = _evaluate(run, dataset, model.score, model.user_encoder.history_length, "teacher")
    return Row(f"Teacher ({run.cfg.teacher.name}, {run.cfg.teacher.llm.name})", evaluation, _count(model))


def _evaluate(run: Run, dataset: Dataset, score: Scorer, history_length: int, title: str) -> Evaluation:
    metrics = run.cfg.metrics
    return evaluate(
        score,
        dataset,
        "test",
        history_length=history_length,
        batch_size=eval_rows(run, dataset, metrics.filter_seen),
        filter_seen=metrics.filter_seen,
        device=best_device(),
        title=f"{title}: test users",
    )


def _count(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def _cells(row: Row, ks: list[int]) -> list[str]:
    metrics = row.evaluation.metrics(ks)
    quality = [f"{metrics[f'{kind}@{k}']:.4f}" for kind in ("HR", "NDCG", "Recall") for k in ks]
    return [row.name, *quality, f"{row.parameters:,}", f"{row.evaluation.ms_per_1000_users:,.1f}"]


def _header(ks: list[int]) -> list[str]:
    quality = [f"{kind}@{k}" for kind in ("HR", "NDCG", "Recall") for k in ks]
    return ["Model", *quality, "Parameters", "ms / 1,000 users"]


def _markdown(rows: list[Row], ks: list[int]) -> str:
    lines = [_header(ks), ["---"] + ["---:"] * (len(_header(ks)) - 1), *(_cells(row, ks) for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _print_table(rows: list[Row], ks: list[int], title: str) -> None:
    """Prints models as columns: four models fit any terminal, fourteen figures do not."""
    table = Table(title=title)
    for place, cell in enumerate(["", *(row.name for row in rows)]):
        table.add_column(cell, justify="left" if place == 0 else "right")
    for line in zip(_header(ks)[1:], *(_cells(row, ks)[1:] for row in rows), strict=True):
        table.add_row(*line)
    Console().print(table)
