"""What a training writes so that it can be gone on with, to the same weights as if it had never stopped."""

import logging
import signal
import threading
import time
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, cast

import lightning as L
import torch
from lightning.pytorch.callbacks import Checkpoint, EarlyStopping
from lightning.pytorch.utilities.types import STEP_OUTPUT
from torch import Tensor

from ..core.artefact import on_disk, told_where_disk_is_full
from ..core.errors import UserError
from ..data.batches import BatchLoader
from .processes import gathered, largest, rank, size
from .started import leads, started_together

LAST, PREVIOUS = "last.ckpt", "previous.ckpt"
SIGNALS = (signal.SIGTERM, signal.SIGINT)
ECHO = 5.0  # seconds in which torchrun passes a signal on that a batch system may have sent to every process, too
KEEP_EVERY = 600.0  # seconds between checkpoints from which an interrupted run can go on

log = logging.getLogger(__name__)


def resumable(folder: Path, resume_from: Path | None, made_from: Mapping[str, Any]) -> Path | None:
    """Returns the checkpoint that a training goes on from: of those of its own in `folder` and `resume_from`, the one
    with most steps; None where it begins.

    One of its own that is cut short or damaged is passed over with a warning, and so is one that was made from what is
    not there any more.

    Args:
        folder: Where the training keeps its checkpoints.
        resume_from: A checkpoint from elsewhere, or None.
        made_from: What is trained on what (`MadeFrom`).

    Raises:
        UserError: `resume_from` is not there, is damaged, or is of another training; says what differs.
    """
    steps: dict[Path, int] = {}
    if resume_from is not None:
        if not resume_from.is_file():
            raise UserError(f"No checkpoint to resume from at {resume_from}: give the path of a {LAST}, or null.")
        steps[resume_from] = _steps(resume_from, made_from)
    for path in (folder / LAST, folder / PREVIOUS):
        if path.is_file():
            try:
                steps[path] = _steps(path, made_from)
            except UserError as error:
                log.warning("Passed over, and gone on from the one before it or from the start: %s", error)
    return max(steps, key=lambda path: steps[path]) if steps else None


def _steps(path: Path, made_from: Mapping[str, Any]) -> int:
    """Returns the optimiser steps behind a checkpoint.

    Raises:
        UserError: It is not whole, or is of another training.
    """
    checkpoint = _read(path)
    theirs = checkpoint.get("callbacks", {}).get(MadeFrom.__qualname__, {})
    differ = [
        f"{key}: {theirs.get(key)} instead of {made_from.get(key)}"
        for key in dict.fromkeys([*made_from, *theirs])
        if theirs.get(key) != made_from.get(key)
    ]
    if differ:
        raise UserError(
            f"The checkpoint {path} is of another training ({'; '.join(differ)}): resume with its own settings, or set "
            "resume_from=null."
        )
    return checkpoint["global_step"]


def _read(path: Path) -> dict[str, Any]:
    """Returns a checkpoint whose every part, PyTorch writes a zip, has the checksum that it was written with (PyTorch
    itself does not look at them).

    Raises:
        UserError: It is not whole.
    """
    try:
        with zipfile.ZipFile(path) as file:
            damaged = file.testzip()
        if damaged is None:
            return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # both raise whatever the bytes lead them to
        log.debug("%s: %s", path, error)
    raise UserError(f"The checkpoint {path} is cut short or damaged: set resume_from to a whole one, or to null.")


class MadeFrom(L.Callback):
    """Writes into every checkpoint what is trained on what."""

    def __init__(self, made_from: Mapping[str, Any]) -> None:
        self.made_from = dict(made_from)

    def state_dict(self) -> dict[str, Any]:
        return self.made_from


class BestWeights(L.Callback):
    """Keeps the weights of the best validation, in memory and in every checkpoint: one file holds all that a training
    needs to go on, so that no kill can part the best weights from the last ones.

    Args:
        monitor: The figure that is to rise.
    """

    def __init__(self, monitor: str) -> None:
        self.monitor = monitor
        self.score = -torch.inf
        self.weights: dict[str, Tensor] = {}

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        score = float(trainer.callback_metrics[self.monitor])
        if score > self.score or not self.weights:
            # What a checkpoint would hold, copied: a teacher's frozen language model is not in it.
            kept = {"state_dict": pl_module.state_dict()}
            pl_module.on_save_checkpoint(kept)
            self.score = score
            self.weights = {name: value.detach().cpu().clone() for name, value in kept["state_dict"].items()}

    def state_dict(self) -> dict[str, Any]:
        return {"score": self.score, "weights": self.weights}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.score, self.weights = state_dict["score"], state_dict["weights"]


class StopWhenPatienceEnds(EarlyStopping):
    """Lightning's, which forgets in a checkpoint that it had stopped: gone on with, the training would take one more
    epoch.
    """

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if self.wait_count >= self.patience:
            trainer.should_stop = True


class LastCheckpoint(Checkpoint):
    """Writes last.ckpt, from which an interrupted run goes on: after each validation, in between where they are far
    apart, and when the process is asked to end (SIGTERM, Ctrl-C). It waits for the optimiser's step: a gradient that is
    still being accumulated is in no checkpoint.

    A checkpoint is written under another name and takes its own once it is on the disk; the one before it is kept.

    Processes that train together agree after each step: what one of them is asked, all do. The first one writes.

    Args:
        folder: Where.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.asked_to_end: signal.Signals | None = None
        self.asked_at = 0.0

    def _end_after_step(self, number: int, frame: FrameType | None) -> None:
        if self.asked_to_end is not None:  # asked twice: at once
            if started_together() > 1 and time.monotonic() - self.asked_at < ECHO:
                return
            raise SystemExit(128 + number)
        self.asked_to_end, self.asked_at = signal.Signals(number), time.monotonic()
        log.warning(
            "%s: the training keeps where it stands and ends, after this step or this validation (once more: at once)",
            self.asked_to_end.name,
        )

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Asks for the block, a whole `Trainer.fit`, to end by itself when a signal comes.

        Raises:
            SystemExit: One came, 128 + its number.
        """
        before = self._take_signals()
        try:
            yield
        except BaseException:  # Lightning's own says nothing of the signal; others may come of the same validation
            self._end_if_asked()
            raise
        finally:
            for each, handler in before.items():
                signal.signal(each, handler)
        self._end_if_asked()  # it came while the trainer closed its files

    def _take_signals(self) -> dict[signal.Signals, Any]:
        """Returns who handled them before."""
        if threading.current_thread() is not threading.main_thread():  # no other may handle signals
            return {}
        return {each: signal.signal(each, self._end_after_step) for each in SIGNALS}

    def _end_if_asked(self) -> None:
        if self.asked_to_end is not None:
            raise SystemExit(128 + self.asked_to_end)

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._take_signals()  # again: Lightning has put its own around it, which would end the training in a validation
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
        # A checkpoint between a step and the validation after it would be gone on from without that validation.
        if not trainer.is_last_batch and (batch_idx + 1) % cast("int", trainer.val_check_batch) != 0:
            self._write_if_due(trainer, batch_idx)

    def _write_if_due(self, trainer: L.Trainer, batch_idx: int) -> None:
        stepped = (batch_idx + 1) % trainer.accumulate_grad_batches == 0
        if stepped:
            is_due, asked = largest([time.monotonic() >= self.due, self.asked_to_end or 0])
            if is_due or asked:
                self._write(trainer)

    def _write(self, trainer: L.Trainer) -> None:
        last, half = self.folder / LAST, self.folder / f".{LAST}"
        with told_where_disk_is_full(last):
            if leads():
                self.folder.mkdir(parents=True, exist_ok=True)
            trainer.save_checkpoint(half)  # all take part
            if leads():
                on_disk(half)
                if last.is_file():
                    last.replace(self.folder / PREVIOUS)
                half.replace(last)
                on_disk(self.folder)
        self.due = time.monotonic() + KEEP_EVERY
        (asked,) = largest([self.asked_to_end or 0])
        if asked:
            self.asked_to_end = signal.Signals(asked)
            log.info("Kept at step %d in %s", trainer.global_step, self.folder)
            self._end_if_asked()


class RandomState(L.Callback):
    """Writes into every checkpoint where the random draws stand (PyTorch's own, and all generators that are attributes
    of the training module and of its data) and which batches are still to come. What is resumed then goes on as if it
    had never stopped.

    Processes that train together hold the same generators; PyTorch's own draws (dropout) are each process's, and one
    that was not there when the checkpoint was written begins anew.
    """

    def __init__(self, data: L.LightningDataModule) -> None:
        self.data = data
        self.restored: dict[str, Any] | None = None

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        self.trainer, self.module = trainer, pl_module

    def state_dict(self) -> dict[str, Any]:
        loader = self.trainer.train_dataloader
        everyone = {"torch_of_each": gathered(torch.get_rng_state().unsqueeze(0))} if size() > 1 else {}
        if everyone and torch.cuda.is_available():
            everyone["cuda_of_each"] = gathered(torch.cuda.get_rng_state().unsqueeze(0))
        return everyone | {
            "torch": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state_all(),
            "data": {name: each.get_state() for name, each in _generators(self.data).items()},
            "module": {name: each.get_state() for name, each in _generators(self.module).items()},
            "loader": loader.state_dict() if isinstance(loader, BatchLoader) else None,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.restored = state_dict

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if rank() > 0:
            self._draw_apart(trainer.global_step)
        if self.restored is None:
            return
        loader = trainer.train_dataloader
        if rank() == 0:
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

    def _draw_apart(self, steps: int) -> None:
        """Lets a process behind the first draw on from where it stood, or, if it is new, what no other draws."""
        torch.manual_seed(torch.initial_seed() + size() * steps + rank())
        for name, put in (("torch_of_each", torch.set_rng_state), ("cuda_of_each", torch.cuda.set_rng_state)):
            states = (self.restored or {}).get(name, [])
            if rank() < len(states):
                put(states[rank()].clone())  # PyTorch reads from where the tensor that it is a row of begins


def _generators(owner: object) -> dict[str, torch.Generator]:
    return {name: value for name, value in vars(owner).items() if isinstance(value, torch.Generator)}
