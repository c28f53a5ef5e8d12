"""The training loop that students and teachers share: Lightning with early stopping and the best checkpoint kept."""

import json
import logging
import math
import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import lightning as L
from lightning.pytorch.callbacks import LearningRateMonitor
from lightning.pytorch.loggers import Logger, TensorBoardLogger
from lightning.pytorch.strategies import DDPStrategy
from lightning.pytorch.utilities.types import STEP_OUTPUT
from torch.nn.modules.batchnorm import _BatchNorm

from ..core.errors import UserError
from ..core.logging import quiet_libraries
from ..core.precision import NumberFormat
from ..core.progress import progress
from .checkpoints import LAST, BestWeights, LastCheckpoint, MadeFrom, RandomState, StopWhenPatienceEnds, resumable
from .curve import Curve
from .finite import FiniteOnly
from .memory import leftovers
from .processes import as_the_first_says, size
from .started import leads

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Plan:
    """How a training goes.

    stage: Names the checkpoints, the events and the progress bar.
    monitor: The figure that is to rise, "val/NDCG@10" for example.
    made_from: What is trained on what (plain values): a checkpoint that says otherwise is not gone on from.
    kept_in: Folder of the checkpoint from which the training goes on by itself when it is started again; whoever asks
        for the training removes it once the result is safe.
    run_dir: Events go to `<run_dir>/tensorboard/<stage>/`.
    max_epochs: Upper bound.
    patience: Validations without a rise before training stops.
    precision: Lightning's name.
    resume_from: A `last.ckpt` from elsewhere, or None.
    validations_per_epoch: How often validation runs within an epoch.
    gradient_clip: Largest norm of the gradient, or None.
    loggers: More of Lightning's, beside that of TensorBoard.
    accumulate: Batches per optimiser step, whose mean losses are summed and divided by this number: each counts the
        same, however many rows it has, and at the end of an epoch fewer make a smaller gradient.
    """

    stage: str
    monitor: str
    made_from: dict[str, Any]
    kept_in: Path
    run_dir: Path
    max_epochs: int
    patience: int
    precision: NumberFormat
    resume_from: Path | None = None
    validations_per_epoch: int = 1
    gradient_clip: float | None = None
    accumulate: int = 1
    loggers: Sequence[Logger] = ()


def fit(
    module: L.LightningModule, data: L.LightningDataModule, plan: Plan, callbacks: Sequence[L.Callback] = ()
) -> dict[str, Any]:
    """Trains `module` until `plan.monitor` has not risen for `plan.patience` validations, then loads the best weights.
    Goes on from what an interrupted training of the same kept. Processes that are a group train together; the first of
    them alone writes.

    Args:
        module: Logs `plan.monitor` at the end of every validation; its parameters are the best ones afterwards.
        data: Training and validation loaders.
        plan: How.
        callbacks: More of Lightning's.

    Returns:
        `{"best_val_ndcg@10" (as `monitor` says), "epochs", "steps", "curve"}`, the last one a point per validation
        (`Curve`).

    Raises:
        UserError: `plan.resume_from` does not exist or is of another training; or several processes train what looks at
            a batch's rows together.
        DivergedError: A loss, a gradient or a weight became NaN or infinite.
        SystemExit: The process was asked to end (SIGTERM, Ctrl-C); where the training stands is kept.
    """
    quiet_libraries()
    leftovers.free()
    made_from = {**plan.made_from, "precision": plan.precision}  # what "auto" is may differ between machines
    _refuse_batch_norm(module)
    _refuse_others(made_from)
    go_on_from = as_the_first_says(str(resumable(plan.kept_in, plan.resume_from, made_from) or "") if leads() else "")
    if go_on_from:
        log.info("%s: goes on from %s", plan.stage, go_on_from)
    best, curve, last = BestWeights(plan.monitor), Curve(plan.monitor), LastCheckpoint(plan.kept_in)
    trainer = L.Trainer(
        max_epochs=plan.max_epochs,
        precision=plan.precision,
        accelerator="auto",
        **_over_processes(),
        logger=leads() and [TensorBoardLogger(plan.run_dir, "tensorboard", version=plan.stage), *plan.loggers],
        callbacks=[
            best,
            curve,
            StopWhenPatienceEnds(plan.monitor, mode="max", patience=plan.patience),
            MadeFrom(made_from),
            RandomState(data),
            *([StageProgress(plan.stage, plan.monitor), LearningRateMonitor("step")] if leads() else []),
            FiniteOnly(plan.kept_in / LAST, plan.run_dir / f"{plan.stage}_diverged.json"),
            last,
            *callbacks,
        ],
        val_check_interval=1 / plan.validations_per_epoch,
        gradient_clip_val=plan.gradient_clip,
        accumulate_grad_batches=plan.accumulate,
        num_sanity_val_steps=0,
        reload_dataloaders_every_n_epochs=1,  # each epoch draws its own batches
        enable_progress_bar=False,
        enable_model_summary=False,
        log_every_n_steps=1,
    )
    with last.listening():
        trainer.fit(module, data, ckpt_path=go_on_from or None, weights_only=True)
    module.load_state_dict(best.weights, strict=module.strict_loading)
    return {
        f"best_{plan.monitor.replace('/', '_').lower()}": best.score,
        # counted by batches: gone on from where patience ended, Lightning does not count that epoch
        "epochs": math.ceil((trainer.fit_loop.total_batch_idx + 1) / trainer.num_training_batches),
        "steps": trainer.global_step,
        "curve": curve.points,
    }


def _over_processes() -> dict[str, Any]:
    """Returns what Lightning has to know of the processes that train together."""
    if size() == 1:
        return {"devices": 1}
    on_this_machine = int(os.environ["LOCAL_WORLD_SIZE"])
    return {
        "devices": on_this_machine,
        "num_nodes": size() // on_this_machine,
        # a part without an example that a teacher knows leaves weights unused; no buffer changes in training
        "strategy": DDPStrategy(find_unused_parameters=True, broadcast_buffers=False),
        "use_distributed_sampler": False,  # all draw the same batches (`parts`)
    }


def _refuse_others(made_from: Mapping[str, Any]) -> None:
    """Makes sure that all processes train the same, from the same contents, in the same formats of numbers."""
    own, first = json.loads(json.dumps(made_from)), as_the_first_says(dict(made_from))
    keys = [key for key in {**first, **own} if own.get(key) != first.get(key)]
    differ = [f"{key}: {own.get(key)} instead of {first.get(key)}" for key in keys]
    if differ:
        raise UserError(
            f"Processes that train together differ from the first one ({'; '.join(differ)}): let all machines see the "
            "same files, and set precision to 32-true (student.train, teacher.train) where it is that."
        )


def _refuse_batch_norm(module: L.LightningModule) -> None:
    if size() > 1 and any(isinstance(each, _BatchNorm) and each.training for each in module.modules()):
        raise UserError(
            "Batch normalisation looks at all rows of a batch together, which several processes share: train with "
            "trainer.devices=1, or choose what has none (teacher.router)."
        )


class StageProgress(L.Callback):
    """Shows validations done, time spent, time left (at most: early stopping may come first) and the figure."""

    def __init__(self, stage: str, monitor: str) -> None:
        self.stage = stage
        self.monitor = monitor
        self.open = ExitStack()

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        epochs = cast("int", trainer.max_epochs)  # there is no plan without
        steps = epochs * math.ceil(trainer.num_training_batches)
        self.advance = self.open.enter_context(progress(f"{self.stage}: training", steps))
        self.note = ""
        if trainer.global_step:
            self.advance(trainer.fit_loop.total_batch_idx + 1, "resumed")

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: STEP_OUTPUT, batch: Any, batch_idx: int
    ) -> None:
        self.advance(1, f"epoch {trainer.current_epoch + 1} {self.note}")

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.note = f"{self.monitor.replace('/', ' ')} {float(trainer.callback_metrics[self.monitor]):.4f}"

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        self.open.close()

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        self.open.__exit__(type(exception), exception, exception.__traceback__)  # Lightning tears nothing down then
