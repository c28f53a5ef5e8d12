from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import lightning as L
import pytest
import torch

from src.core.errors import UserError
from src.core.progress import Advance
from src.training.loop import fit
from tests.training.scripted import STEPS, Numbers, Scripted, plan_of, run


def test_the_best_weights_are_in_the_module_when_patience_ends(tmp_path):
    module = Scripted([0.1, 0.5, 0.3, 0.2, 0.9])
    result = run(module, tmp_path, patience=2)
    assert result == {"best_val_ndcg@10": pytest.approx(0.5), "epochs": 4, "steps": 4 * STEPS}
    assert module.value.item() == 2 * STEPS


def test_training_ends_after_the_last_epoch_and_leaves_checkpoints_and_events(tmp_path):
    module = Scripted([0.1, 0.2])
    assert run(module, tmp_path, max_epochs=2)["epochs"] == 2
    assert module.value.item() == 2 * STEPS
    assert sorted(path.name for path in (tmp_path / "kept").iterdir()) == ["last.ckpt", "previous.ckpt"]
    assert list((tmp_path / "tensorboard" / "tiny").glob("events*"))


def test_the_plan_reaches_the_trainer_and_callbacks_are_told(tmp_path):
    class Told(L.Callback):
        def on_train_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
            self.clip, self.accumulate = trainer.gradient_clip_val, trainer.accumulate_grad_batches
            self.interval = trainer.val_check_interval

    plan, told = plan_of(tmp_path, max_epochs=1), Told()
    plan = replace(plan, gradient_clip=0.5, accumulate=3, validations_per_epoch=3)
    assert fit(Scripted([0.1]), Numbers(), plan, [told])["steps"] == 1
    assert (told.clip, told.accumulate, told.interval) == (0.5, 3, 1 / 3)


def test_a_loss_that_is_no_number_stops_training_with_a_sentence(tmp_path):
    module, folder = Scripted([0.1, 0.2, 0.3], nan_at=STEPS + 1), tmp_path / "kept"
    with pytest.raises(UserError) as caught:
        run(module, tmp_path)
    assert str(caught.value) == (
        f"The loss became nan at step {STEPS + 2}: epoch 2, batch 2, learning rate 1; lower the learning rate, or mend "
        f"the rows (all of them: {tmp_path / 'tiny_diverged.json'}); the last good checkpoint is "
        f"{folder / 'last.ckpt'}."
    )
    assert module.value.item() == STEPS + 1
    assert torch.load(folder / "last.ckpt", weights_only=True)["state_dict"]["value"] == STEPS


def test_a_loss_that_is_no_number_at_once_has_no_checkpoint(tmp_path):
    with pytest.raises(UserError, match="the last good checkpoint is none yet"):
        run(Scripted([0.1], nan_at=0), tmp_path)


def test_a_training_that_breaks_off_leaves_no_progress_bar(tmp_path, monkeypatch):
    shown = []

    @contextmanager
    def progress(title: str, total: int) -> Iterator[Advance]:
        shown.append(title)
        try:
            yield lambda steps, note="": None
        finally:
            shown.remove(title)

    monkeypatch.setattr("src.training.loop.progress", progress)
    with pytest.raises(UserError):
        run(Scripted([0.1], nan_at=0), tmp_path)
    assert shown == []
