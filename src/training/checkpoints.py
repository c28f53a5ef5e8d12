"""What a training writes so that it can be gone on with, to the same weights as if it had never stopped."""

import time
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Checkpoint, ModelCheckpoint
from lightning.pytorch.utilities.types import STEP_OUTPUT

from ..core.errors import UserError
from ..data.batches import BatchLoader

KEEP_EVERY = 600.0  # seconds between checkpoints from which an interrupted run can go on


def check_resumable(path: Path, made_from: dict[str, Any]) -> None:
    """Makes sure that a training can go on from `path`.

    Raises:
        UserError: It is not there, or is of another training; says what differs.
    """
    if not path.is_file():
        raise UserError(f"No checkpoint to resume from at {path}: give the path of a last.ckpt, or null.")
    checkpoint = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    theirs = checkpoint["callbacks"].get(MadeFrom.__qualname__, {})
    differ = [
        f"{key}: {theirs.get(key)} instead of {value}" for key, value in made_from.items() if theirs.get(key) != value
    ]
    if differ:
        raise UserError(
            f"The checkpoint {path} is of another training ({'; '.join(differ)}): resume with its own settings, or set "
            "resume_from=null."
        )


class MadeFrom(L.Callback):
    """Writes into every checkpoint what is trained on what."""

    def __init__(self, made_from: dict[str, Any]) -> None:
        self.made_from = made_from

    def state_dict(self) -> dict[str, Any]:
        return self.made_from


class BestCheckpoint(ModelCheckpoint):
    """Keeps the best weights, across an interruption too: a resumed run has another folder, but competes with the best
    of the run it goes on from (Lightning alone would forget it). The earlier run's files stay as they are.
    """

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict({**state_dict, "dirpath": self.dirpath})


class LastCheckpoint(Checkpoint):
    """Writes last.ckpt, from which an interrupted run goes on: after each validation, and in between where they are far
    apart. It waits for the optimiser's step: a gradient that is still being accumulated is in no checkpoint.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.due = time.monotonic() + KEEP_EVERY

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.due = 0.0
        if not trainer.is_last_batch:  # else when the epoch has been counted
            self._write_if_due(trainer, trainer.fit_loop.batch_idx)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._write(trainer)

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: STEP_OUTPUT, batch: Any, batch_idx: int
    ) -> None:
        self._write_if_due(trainer, batch_idx)

    def _write_if_due(self, trainer: L.Trainer, batch_idx: int) -> None:
        stepped = (batch_idx + 1) % trainer.accumulate_grad_batches == 0
        if stepped and time.monotonic() >= self.due:
            self._write(trainer)

    def _write(self, trainer: L.Trainer) -> None:
        trainer.save_checkpoint(self.path)
        self.due = time.monotonic() + KEEP_EVERY


class RandomState(L.Callback):
    """Writes into every checkpoint where the random draws stand (PyTorch's own, and all generators that are attributes
    of the training module and of its data) and which batches are still to come. What is resumed then goes on as if it
    had never stopped.
    """

    def __init__(self, data: L.LightningDataModule) -> None:
        self.data = data
        self.restored: dict[str, Any] | None = None

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        self.trainer, self.module = trainer, pl_module

    def state_dict(self) -> dict[str, Any]:
        loader = self.trainer.train_dataloader
        return {
            "torch": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state_all(),
            "data": {name: each.get_state() for name, each in _generators(self.data).items()},
            "module": {name: each.get_state() for name, each in _generators(self.module).items()},
            "loader": loader.state_dict() if isinstance(loader, BatchLoader) else None,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.restored = state_dict

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if self.restored is None:
            return
        loader = trainer.train_dataloader
        torch.set_rng_state(self.restored["torch"])
        for device, state in zip(range(torch.cuda.device_count()), self.restored["cuda"], strict=False):
            torch.cuda.set_rng_state(state, device)
        if not trainer.fit_loop.restarting:  # a new epoch
            torch.empty((), dtype=torch.int64).random_()  # the loader's draw per epoch, made too early for this one
        elif loader is not None and self.restored["loader"] is not None:  # Lightning made it too early to do this
            loader.load_state_dict(self.restored["loader"])
        for owner, states in ((self.data, self.restored["data"]), (pl_module, self.restored["module"])):
            for name, each in _generators(owner).items():
                each.set_state(states[name])


def _generators(owner: object) -> dict[str, torch.Generator]:
    return {name: value for name, value in vars(owner).items() if isinstance(value, torch.Generator)}
