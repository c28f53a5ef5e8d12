import pytest
import torch

from src.training.curve import Curve
from tests.training.scripted import STEPS, Scripted, curve_of, last, run


class Told(Scripted):
    """Scripted, with a training loss that is the number of steps before it."""

    def training_step(self, batch: torch.Tensor, batch_idx: int) -> torch.Tensor:
        self.log("train/loss", torch.tensor(float(self.global_step)))
        return super().training_step(batch, batch_idx)


@pytest.fixture
def clock(monkeypatch):
    """A clock that moves on by a second whenever it is looked at."""
    ticks = iter(range(1000))
    monkeypatch.setattr("src.training.curve.time.monotonic", lambda: float(next(ticks)))


def test_a_point_holds_the_figure_and_the_mean_loss_since_the_point_before(tmp_path):
    curve = curve_of(Told([0.1, 0.5]), tmp_path, max_epochs=2)
    assert [point["step"] for point in curve] == [STEPS, 2 * STEPS]
    assert [point["val/NDCG@10"] for point in curve] == pytest.approx([0.1, 0.5])
    assert [point["val/cross_entropy"] for point in curve] == [9.0 - point["step"] for point in curve]
    assert [point["train/loss"] for point in curve] == [1.0, 4.0]  # of 0, 1, 2 and of 3, 4, 5


def test_seconds_rise_and_count_what_was_trained(tmp_path, clock):
    first, second = curve_of(Told([0.1, 0.5]), tmp_path, max_epochs=2)
    assert 0 < first["seconds"] < second["seconds"] < 20


def test_a_training_that_is_gone_on_with_keeps_its_points_and_its_seconds(tmp_path, clock):
    run(Told([0.1, 0.5]), tmp_path / "first", max_epochs=2)
    kept = torch.load(last(tmp_path / "first"), weights_only=True)["callbacks"]["Curve"]
    curve = curve_of(Told([0.1, 0.5, 0.3]), tmp_path / "second", max_epochs=3, resume_from=last(tmp_path / "first"))
    assert curve[:2] == kept["points"]
    assert [point["step"] for point in curve] == [STEPS, 2 * STEPS, 3 * STEPS]
    assert curve[2]["train/loss"] == 7.0
    assert curve[2]["seconds"] > kept["seconds"] >= curve[1]["seconds"]


def test_what_was_added_up_before_a_stop_between_validations_counts():
    before, after = Curve("val/NDCG@10"), Curve("val/NDCG@10")
    before.sums, before.batches, before.before = {"train/loss": torch.tensor(6.0)}, 2, 30.0
    after.load_state_dict(before.state_dict())
    assert (float(after.sums["train/loss"]), after.batches, after.seconds) == (6.0, 2, 30.0)
