"""The training loop that students and teachers share: Lightning with early stopping and the best checkpoint kept."""

import logging
import math
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Checkpoint, EarlyStopping, ModelCheckpoint

from .batches import BatchLoader
from .errors import DivergedError, UserError
from .logging import tensorboard
from .progress import progress

KEEP_EVERY = 600.0  # seconds between checkpoints from which an interrupted run can go on

log = logging.getLogger(__name__)


def fit(
    module: L.LightningModule,
    data: L.LightningDataModule,
    *,
    stage: str,
    monitor: str,
    made_from: dict[str, Any],
    run_dir: Path,
    max_epochs: int,
    patience: int,
    precision: str,
    resume_from: str | None,
    validations_per_epoch: int = 1,
    gradient_clip: float | None = None,
    accumulate: int = 1,
    callbacks: Sequence[L.Callback] = (),
) -> dict[str, float | int]:
    """Trains `module` until `monitor` has not risen for `patience` validations, then loads the best weights.

    Args:
        module: Logs `monitor` at the end of every validation; its parameters are the best ones afterwards.
        data: Training and validation loaders.
        stage: Names the checkpoints, the events and the progress bar.
        monitor: The figure that is to rise, "val/NDCG@10" for example.
        made_from: What is trained on what (plain values): a checkpoint that says otherwise is not gone on from.
        run_dir: Checkpoints go to `<run_dir>/checkpoints/<stage>/`, events to `<run_dir>/tensorboard/<stage>/`.
        max_epochs: Upper bound.
        patience: Validations without a rise before training stops.
        precision: Lightning's name, e.g. "32-true", "bf16-mixed".
        resume_from: A `last.ckpt` of an interrupted run, or None.
        validations_per_epoch: How often validation runs within an epoch.
        gradient_clip: Largest norm of the gradient, or None.
        accumulate: Batches per optimiser step.
        callbacks: More of them.

    Returns:
        `{"best_val_ndcg@10" (as `monitor` says), "epochs", "steps"}`.

    Raises:
        UserError: `resume_from` does not exist or is of another training.
        DivergedError: The loss became NaN.
    """
    if resume_from is not None:
        _check_resumable(Path(resume_from), made_from)
    best = BestCheckpoint(
        run_dir / "checkpoints" / stage,
        filename="best-epoch{epoch:03d}",
        auto_insert_metric_name=False,
        monitor=monitor,
        mode="max",
    )
    trainer = L.Trainer(
        max_epochs=max_epochs,
        precision=precision,
        accelerator="auto",
        devices=1,
        logger=tensorboard(run_dir, stage),
        callbacks=[
            best,
            EarlyStopping(monitor, mode="max", patience=patience),
            MadeFrom(made_from),
            RandomState(data),
            StageProgress(stage, monitor),
            StopAtNaN(best),
            LastCheckpoint(Path(best.dirpath) / "last.ckpt"),
            *callbacks,
        ],
        val_check_interval=1 / validations_per_epoch,
        gradient_clip_val=gradient_clip,
        accumulate_grad_batches=accumulate,
        num_sanity_val_steps=0,
        reload_dataloaders_every_n_epochs=1,  # each epoch draws its own batches
        enable_progress_bar=False,
        enable_model_summary=False,
        log_every_n_steps=1,
    )
    trainer.fit(module, data, ckpt_path=resume_from, weights_only=True)
    state = torch.load(best.best_model_path, map_location="cpu", weights_only=True)["state_dict"]
    module.load_state_dict(state, strict=module.strict_loading)
    return {
        f"best_{monitor.replace('/', '_').lower()}": float(best.best_model_score),
        "epochs": trainer.current_epoch,
        "steps": trainer.global_step,
    }


def _check_resumable(path: Path, made_from: dict[str, Any]) -> None:
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


class RandomState(L.Callback):
    """Writes into every checkpoint where the random draws stand (PyTorch's own, and all generators that are attributes
    of the training module and of its data) and which batches are still to come. What is resumed then goes on as if it
    had never stopped.
    """

    def __init__(self, data: L.LightningDataModule) -> None:
        self.data = data
        self.restored: dict[str, Any] | None = None

    def setup(self, trainer: L.Trainer, module: L.LightningModule, stage: str) -> None:
        self.trainer, self.module = trainer, module

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

    def on_train_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        if self.restored is None:
            return
        torch.set_rng_state(self.restored["torch"])
        for device, state in zip(range(torch.cuda.device_count()), self.restored["cuda"], strict=False):
            torch.cuda.set_rng_state(state, device)
        if not trainer.fit_loop.restarting:  # a new epoch
            torch.empty((), dtype=torch.int64).random_()  # the loader's draw per epoch, made too early for this one
        elif self.restored["loader"] is not None:  # Lightning has made the loader too early to do this itself
            trainer.train_dataloader.load_state_dict(self.restored["loader"])
        for owner, states in ((self.data, self.restored["data"]), (module, self.restored["module"])):
            for name, each in _generators(owner).items():
                each.set_state(states[name])


def _generators(owner: object) -> dict[str, torch.Generator]:
    return {name: value for name, value in vars(owner).items() if isinstance(value, torch.Generator)}


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

    def on_train_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        self.due = time.monotonic() + KEEP_EVERY

    def on_validation_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        self.due = 0.0
        if not trainer.is_last_batch:  # else when the epoch has been counted
            self._write_if_due(trainer, trainer.fit_loop.batch_idx)

    def on_train_epoch_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        self._write(trainer)

    def on_train_batch_end(
        self, trainer: L.Trainer, module: L.LightningModule, outputs: dict, batch: object, batch_idx: int
    ) -> None:
        self._write_if_due(trainer, batch_idx)

    def _write_if_due(self, trainer: L.Trainer, batch_idx: int) -> None:
        stepped = (batch_idx + 1) % trainer.accumulate_grad_batches == 0
        if stepped and time.monotonic() >= self.due:
            self._write(trainer)

    def _write(self, trainer: L.Trainer) -> None:
        trainer.save_checkpoint(self.path)
        self.due = time.monotonic() + KEEP_EVERY


class StageProgress(L.Callback):
    """Shows validations done, time spent, time left (at most: early stopping may come first) and the figure."""

    def __init__(self, stage: str, monitor: str) -> None:
        self.stage = stage
        self.monitor = monitor
        self.open = ExitStack()

    def on_train_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        epoch_steps = math.ceil(trainer.num_training_batches)
        self.advance = self.open.enter_context(progress(f"{self.stage}: training", trainer.max_epochs * epoch_steps))
        self.note = ""
        if trainer.global_step:
            self.advance(trainer.fit_loop.total_batch_idx + 1, "resumed")

    def on_train_batch_end(self, trainer: L.Trainer, *_: object) -> None:
        self.advance(1, f"epoch {trainer.current_epoch + 1} {self.note}")

    def on_validation_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        self.note = f"{self.monitor.replace('/', ' ')} {float(trainer.callback_metrics[self.monitor]):.4f}"

    def teardown(self, trainer: L.Trainer, module: L.LightningModule, stage: str) -> None:
        self.open.close()


class StopAtNaN(L.Callback):
    """Ends training at the first loss that is not a number, and says where it was and what is safe."""

    def __init__(self, best: ModelCheckpoint) -> None:
        self.best = best

    def on_train_batch_end(self, trainer: L.Trainer, module: L.LightningModule, outputs: dict, *_: object) -> None:
        if not torch.isfinite(outputs["loss"]):
            lr = trainer.optimizers[0].param_groups[0]["lr"]
            raise DivergedError(
                f"The loss became {outputs['loss'].item()} at step {trainer.global_step} (learning rate {lr:.2g}): "
                f"lower the learning rate; the last good checkpoint is {self.best.best_model_path or 'none yet'}."
            )
