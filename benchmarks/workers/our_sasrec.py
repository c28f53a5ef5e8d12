"""Our SASRec for comparison with RecBole: trains from scratch for some epochs, or ranks the test part.

Settings: `task` ("train" or "evaluate"), `overrides` of the shipped config.
"""

import time
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from src.core.dataset import Dataset
from src.core.precision import best_device
from src.exp.run import Run
from src.exp.stages import MONITOR, eval_rows, fit_student, prepare
from src.student.evaluator import Scorer, evaluate
from src.student.trainer_baseline import NextItemModule

from ..ours import new_module, run_of
from ..timing import Line, num_parameters


class TimedModule(NextItemModule):
    """Notes seconds since `start` and validation NDCG@10 after each epoch."""

    start: float

    def on_fit_start(self) -> None:
        self.curve: list[list[float]] = []

    def on_validation_end(self) -> None:
        self.curve.append([time.perf_counter() - self.start, float(self.trainer.callback_metrics[MONITOR])])


def main() -> None:
    line = Line()
    run = run_of(line.settings["overrides"])
    dataset = prepare(run)
    val = dataset.examples["val"]
    module = new_module(run, dataset)
    facts = {
        "parameters": num_parameters(module),
        "targets": torch.stack([val.user, dataset.item_log[dataset.offsets[val.user] + val.end]], dim=1).tolist(),
        "test_users": len(dataset.examples["test"]),
    }
    if line.settings["task"] == "train":
        line.serve(facts, lambda: train(run, dataset))
    else:
        model = module.model.to(best_device()).eval()
        line.serve(facts, lambda: ranked(run, dataset, lambda batch: model.predict(batch.history)))


def train(run: Run, dataset: Dataset) -> dict[str, Any]:
    """Returns seconds since the start and validation NDCG@10 after each epoch; the next call has the next seed."""
    start = time.perf_counter()
    module = new_module(run, dataset, TimedModule)
    module.start = start
    with TemporaryDirectory() as folder:
        fit_student(replace(run, dir=Path(folder)), dataset, module, "baseline")
    run.cfg.seed += 1
    return {"curve": module.curve}


def ranked(run: Run, dataset: Dataset, score: Scorer) -> dict[str, Any]:
    metrics = run.cfg.metrics
    start = time.perf_counter()
    evaluate(
        score,
        dataset,
        "test",
        ks=metrics.ks,
        history_length=run.cfg.student.model.history_length,
        batch_size=eval_rows(run, dataset, metrics.filter_seen),
        filter_seen=metrics.filter_seen,
        device=best_device(),
        title="test",
    )
    return {"seconds": time.perf_counter() - start}


if __name__ == "__main__":
    main()
