"""The training loop that students and teachers share: Lightning with early stopping and the best checkpoint kept."""

import logging
import math
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint

from .checkpoints import BestCheckpoint, LastCheckpoint, MadeFrom, RandomState, check_resumable
from .errors import DivergedError
from .logging import tensorboard
from .progress import progress

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
        check_resumable(Path(resume_from), made_from)
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
