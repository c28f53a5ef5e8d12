"""Several processes train one student."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from src.core.settings_reading import changed
from src.data.dataset import Dataset
from src.evaluation.settings import MetricsSettings
from src.student.settings import StudentSettings
from src.student.trainer_baseline import NextItemModule, baseline_module, fit_student
from src.training.parts import own_part
from src.training.processes import line
from tests.processes import leave, together, told
from tests.student.students import architecture, shipped
from tests.worlds import tiny_dataset

DATASET, METRICS = tiny_dataset(7), MetricsSettings(ks=[1], max_rows=3)


def settings_of(name: str, **train: object) -> StudentSettings:
    small = {f"model.{key}": value for key, value in architecture(name).items()}
    how = {"lr": 0.01, "max_epochs": 3, "precision": "32-true", "batch_targets": 5, **train}
    return changed(shipped(name), small | {f"train.{key}": value for key, value in how.items()})


def with_validation(users: int) -> Dataset:
    few = DATASET.examples["val"].subset(torch.arange(users))
    return replace(DATASET, examples={**DATASET.examples, "val": few})


def trained(folder: Path, settings: StudentSettings, dataset: Dataset) -> dict:
    torch.manual_seed(0)
    module = baseline_module(settings, dataset)
    return fit_student(module, settings, dataset, METRICS, 0, stage="student", run_dir=folder)


def curve_of(result: dict) -> list[dict[str, float]]:
    return [{name: value for name, value in point.items() if name != "seconds"} for point in result["curve"]]


@pytest.mark.parametrize(
    ("name", "users", "batch_targets"), [("sasrec", 7, 5), ("gru4rec", 1, 40), ("caser", 7, 5), ("caser", 2, 1)]
)
def test_two_processes_have_the_curve_of_one(name, users, batch_targets, tmp_path):
    """Odd numbers of validation users; batches of one row, of which one process has nothing."""
    settings, dataset = settings_of(name, batch_targets=batch_targets), with_validation(users)

    def job() -> None:
        with line.group():
            leave(tmp_path, trained(tmp_path / "two", settings, dataset))

    assert together(job) == [0, 0]
    expected, (first, second) = trained(tmp_path / "one", settings, dataset), told(tmp_path)
    assert curve_of(first) == curve_of(second)
    assert first["steps"] == expected["steps"]
    for point, other in zip(curve_of(first), curve_of(expected), strict=True):
        assert point == pytest.approx(other, rel=1e-6)


def test_every_example_is_trained_once_in_an_epoch(tmp_path):
    settings, seen = settings_of("sasrec", max_epochs=2), []

    class Watched(NextItemModule):
        def loss_terms(self, batch):
            part = own_part(batch)
            seen.extend(part.batch.example_id[: part.rows].flatten().tolist())
            return super().loss_terms(batch)

        def on_train_epoch_end(self):
            seen.append("epoch")

    def job() -> None:
        torch.manual_seed(0)
        module = baseline_module(settings, DATASET)
        watched = Watched(module.model, module.loss, module.optimisation)
        with line.group():
            fit_student(watched, settings, DATASET, METRICS, 0, stage="student", run_dir=tmp_path / "run")
        leave(tmp_path, seen)

    assert together(job) == [0, 0]
    everyone = DATASET.examples["train"].example_id.tolist()
    for epoch in range(2):
        both = []
        for seen_by_one in told(tmp_path):
            ends = [-1, *(place for place, each in enumerate(seen_by_one) if each == "epoch")]
            own = seen_by_one[ends[epoch] + 1 : ends[epoch + 1]]
            assert own
            both += [each for each in own if each >= 0]  # -1: a place without a target
        assert sorted(both) == everyone
