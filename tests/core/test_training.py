from pathlib import Path

import lightning as L
import pytest
import torch
from torch.utils.data import DataLoader

from src.core.errors import UserError
from src.core.training import fit

STEPS = 3  # of one epoch


class Scripted(L.LightningModule):
    """Adds 1 to its only parameter in each step, and reports NDCG@10 as scripted, one value per validation."""

    def __init__(self, ndcg: list[float], nan_at: int | None = None) -> None:
        super().__init__()
        self.value = torch.nn.Parameter(torch.zeros(()))
        self.ndcg, self.nan_at = ndcg, nan_at

    def training_step(self, batch: torch.Tensor, batch_idx: int) -> torch.Tensor:
        return -self.value * (float("nan") if self.global_step == self.nan_at else 1)

    def validation_step(self, batch: torch.Tensor, batch_idx: int) -> None:
        step = max(0, self.global_step)
        self.log("val/NDCG@10", self.ndcg[step // STEPS - 1])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=1.0)


class Numbers(L.LightningDataModule):
    def train_dataloader(self) -> DataLoader:
        return DataLoader(torch.zeros(STEPS), batch_size=1)

    def val_dataloader(self) -> DataLoader:
        return DataLoader(torch.zeros(1), batch_size=1)


def run(
    module: Scripted,
    run_dir: Path,
    max_epochs: int = 10,
    patience: int = 10,
    resume_from: str | None = None,
    dataset: str = "0123",
):
    return fit(
        module,
        Numbers(),
        stage="tiny",
        monitor="val/NDCG@10",
        made_from={"dataset": dataset, "model": {"width": 1}},
        run_dir=run_dir,
        max_epochs=max_epochs,
        patience=patience,
        precision="32-true",
        resume_from=resume_from,
    )


def last(run_dir: Path) -> str:
    return str(run_dir / "checkpoints" / "tiny" / "last.ckpt")


def test_the_best_weights_are_in_the_module_when_patience_ends(tmp_path):
    module = Scripted([0.1, 0.5, 0.3, 0.2, 0.9])
    result = run(module, tmp_path, patience=2)
    assert result == {"best_val_ndcg@10": pytest.approx(0.5), "epochs": 4, "steps": 4 * STEPS}
    assert module.value.item() == 2 * STEPS


def test_training_ends_after_the_last_epoch_and_leaves_checkpoints_and_events(tmp_path):
    module = Scripted([0.1, 0.2])
    assert run(module, tmp_path, max_epochs=2)["epochs"] == 2
    assert module.value.item() == 2 * STEPS
    assert sorted(path.name for path in (tmp_path / "checkpoints" / "tiny").iterdir()) == [
        "best-epoch001.ckpt",
        "last.ckpt",
    ]
    assert list((tmp_path / "tensorboard" / "tiny").glob("events*"))


def test_a_missing_checkpoint_to_resume_from_is_told_before_anything_runs(tmp_path):
    with pytest.raises(UserError, match=r"No checkpoint to resume from at .*absent\.ckpt"):
        run(Scripted([0.1]), tmp_path, resume_from=str(tmp_path / "absent.ckpt"))
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_of_another_training_is_refused(tmp_path):
    run(Scripted([0.1]), tmp_path / "first", max_epochs=1)
    with pytest.raises(UserError, match=r"last\.ckpt is of another training \(dataset: 0123 instead of 4567\): resume"):
        run(Scripted([0.1]), tmp_path / "second", resume_from=last(tmp_path / "first"), dataset="4567")
    assert not (tmp_path / "second").exists()


def test_resuming_goes_on_where_the_interrupted_run_stood(tmp_path):
    run(Scripted([0.1, 0.2]), tmp_path / "first", max_epochs=2)
    module = Scripted([0.1, 0.2, 0.3, 0.4])
    result = run(module, tmp_path / "second", max_epochs=4, resume_from=last(tmp_path / "first"))
    assert result == {"best_val_ndcg@10": pytest.approx(0.4), "epochs": 4, "steps": 4 * STEPS}
    assert module.value.item() == 4 * STEPS


def test_what_is_gone_on_from_is_the_last_validation_not_the_best(tmp_path):
    run(Scripted([0.5, 0.3, 0.2]), tmp_path, max_epochs=3)
    assert torch.load(last(tmp_path), weights_only=True)["state_dict"]["value"] == 3 * STEPS


def test_resuming_remembers_the_best_weights_of_the_interrupted_run(tmp_path):
    run(Scripted([0.1, 0.9, 0.3]), tmp_path / "first", max_epochs=3)
    module = Scripted([0.1, 0.9, 0.3, 0.4, 0.5])
    result = run(module, tmp_path / "second", max_epochs=5, resume_from=last(tmp_path / "first"))
    assert result["best_val_ndcg@10"] == pytest.approx(0.9)
    assert module.value.item() == 2 * STEPS
    assert (tmp_path / "first" / "checkpoints" / "tiny" / "best-epoch001.ckpt").is_file()


def test_resuming_a_finished_run_gives_its_best_weights(tmp_path):
    run(Scripted([0.1, 0.9, 0.3]), tmp_path / "first", max_epochs=3)
    module = Scripted([0.1, 0.9, 0.3])
    result = run(module, tmp_path / "second", max_epochs=3, resume_from=last(tmp_path / "first"))
    assert result["best_val_ndcg@10"] == pytest.approx(0.9)
    assert module.value.item() == 2 * STEPS


def test_a_loss_that_is_no_number_stops_training_with_a_sentence(tmp_path):
    with pytest.raises(UserError) as caught:
        run(Scripted([0.1, 0.2, 0.3], nan_at=STEPS + 1), tmp_path)
    said = str(caught.value)
    assert f"The loss became nan at step {STEPS + 2} (learning rate 1)" in said
    assert "lower the learning rate" in said
    assert said.endswith(f"the last good checkpoint is {tmp_path / 'checkpoints' / 'tiny' / 'best-epoch000.ckpt'}.")
    assert (tmp_path / "checkpoints" / "tiny" / "best-epoch000.ckpt").is_file()


def test_a_loss_that_is_no_number_at_once_has_no_checkpoint(tmp_path):
    with pytest.raises(UserError, match="the last good checkpoint is none yet"):
        run(Scripted([0.1], nan_at=0), tmp_path)
