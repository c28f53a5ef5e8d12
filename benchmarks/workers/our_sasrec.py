"""Our SASRec for comparison with RecBole: trains from scratch for some epochs, or ranks the test part.

Settings: `task` ("train" or "evaluate"), `overrides` of the shipped config.
"""

import time
from dataclasses import replace
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from src.core.precision import best_device
from src.core.settings_reading import changed
from src.data.dataset import Dataset
from src.evaluation.ranking import Scorer, evaluate
from src.exp.program.run import Run
from src.student.trainer_baseline import MONITOR, NextItemModule, fit_student

from ..ours import new_module, prepared, run_of
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
    dataset = prepared(run)
    val = dataset.examples["val"]
    module = new_module(run, dataset)
    facts = {
        "parameters": num_parameters(module),
        "targets": torch.stack([val.user, dataset.item_log[dataset.offsets[val.user] + val.end]], dim=1).tolist(),
        "test_users": len(dataset.examples["test"]),
    }
    if line.settings["task"] == "train":
        seeds = count(run.settings.seed)
        line.serve(facts, lambda: train(with_seed(run, next(seeds)), dataset))
    else:
        model = module.model.to(best_device()).eval()
        line.serve(facts, lambda: ranked(run, dataset, lambda batch: model.predictions(batch.history)))


def with_seed(run: Run, seed: int) -> Run:
    return replace(run, settings=changed(run.settings, {"seed": seed}))


def train(run: Run, dataset: Dataset) -> dict[str, Any]:
    """Returns seconds since the start and validation NDCG@10 after each epoch."""
    student, metrics, seed = run.settings.student, run.settings.metrics, run.settings.seed
    start = time.perf_counter()
    module = new_module(run, dataset, TimedModule)
    module.start = start
    with TemporaryDirectory() as folder:
        fit_student(module, student, dataset, metrics, seed, stage="baseline", run_dir=Path(folder))
    return {"curve": module.curve}


def ranked(run: Run, dataset: Dataset, score: Scorer) -> dict[str, Any]:
    settings = run.settings
    start = time.perf_counter()
    evaluate(
        score,
        dataset,
        "test",
        settings.metrics,
        history_length=settings.student.model.history_length,
        device=best_device(),
        title="test",
    )
    return {"seconds": time.perf_counter() - start}


if __name__ == "__main__":
    main()
