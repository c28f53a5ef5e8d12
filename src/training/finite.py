"""Ends a training at the first number that is none, before it reaches the weights."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import lightning as L
import torch
from torch import Tensor

from ..core.artefact import write_json
from ..core.errors import DivergedError
from .parts import means_of_parts
from .started import leads

NAMED = 3  # parameters, examples, ... that the sentence names; the report has all


class FiniteOnly(L.Callback):
    """Ends training at a loss, a gradient or a weight that is NaN or infinite, and says where it was and what is safe.

    A loss is looked at before its backward pass, the norm of the whole gradient once before each optimiser step, the
    weights before they are written: no checkpoint holds what a bad number did. Of several processes all see the same
    numbers, the whole batch's, and end together.

    Args:
        last: Where an interrupted run goes on from; the best weights are in there, too.
        report: Gets the rows of the bad step's batches, to be looked at.
    """

    def __init__(self, last: Path, report: Path) -> None:
        self.last, self.report = last, report
        self.batches: list[tuple[int, Any]] = []  # of one optimiser step: number in the epoch, from 1, and batch
        self.stepped = False

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        if self.stepped:
            self.batches.clear()
            self.stepped = False
        self.batches.append((batch_idx + 1, batch))

    def on_before_backward(self, trainer: L.Trainer, pl_module: L.LightningModule, loss: Tensor) -> None:
        loss = means_of_parts({"loss": loss})["loss"]
        if not torch.isfinite(loss):
            del self.batches[:-1]  # those before, whose gradients wait for the step, were sound
            bad = [name for name, value in trainer.callback_metrics.items() if _bad(value)]
            terms = [name.removeprefix("train/") for name in bad if name.startswith("train/") and name != "train/loss"]
            self._stop(trainer, f"The loss became {loss.item()}{_named('term', terms)}", trainer.global_step + 1, terms)

    def on_before_optimizer_step(
        self, trainer: L.Trainer, pl_module: L.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        norm = gradient_norm(pl_module.parameters())
        if not torch.isfinite(norm):
            groups = [group for group in optimizer.param_groups if not torch.isfinite(gradient_norm(group["params"]))]
            names = [name for name, each in pl_module.named_parameters() if not torch.isfinite(gradient_norm([each]))]
            where = _named("group", [group["name"] for group in groups if "name" in group])
            what = f"The norm of the gradient became {norm.item()}{where}{_named('parameter', names)}"
            self._stop(trainer, what, trainer.global_step + 1, names)
        self.stepped = True

    def on_save_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        """A finite gradient can still carry a weight out of bounds. What is frozen is not looked at."""
        frozen = {name for name, parameter in pl_module.named_parameters() if not parameter.requires_grad}
        names = [name for name, value in checkpoint["state_dict"].items() if name not in frozen and _bad(value)]
        if names:
            self._stop(trainer, f"Weights became no numbers{_named('tensor', names)}", trainer.global_step, names)

    def _stop(self, trainer: L.Trainer, what: str, step: int, names: list[str]) -> None:
        lr, epoch = trainer.optimizers[0].param_groups[0]["lr"], trainer.current_epoch + 1
        numbers = [number for number, _ in self.batches]
        rows = [{name: value.tolist() for name, value in _tensors(batch).items()} for _, batch in self.batches]
        told = {"what": what, "step": step, "epoch": epoch, "learning_rate": lr, "names": names}
        if leads():
            batches = [{"number": number, **row} for number, row in zip(numbers, rows, strict=True)]
            write_json(self.report, {**told, "batches": batches})
        examples = [_tensors(batch)["example_id"] for _, batch in self.batches if "example_id" in _tensors(batch)]
        ids = [each for part in examples for each in part.flatten().tolist() if each >= 0]  # -1: padding
        where = f"step {step}: epoch {epoch}{_named('batch', numbers)}{_named('example', ids)}, learning rate {lr:.2g}"
        raise DivergedError(
            f"{what} at {where}; lower the learning rate, or mend the rows (all of them: {self.report}); the last good "
            f"checkpoint is {self.last if self.last.is_file() else 'none yet'}."
        )


def gradient_norm(parameters: Iterable[Tensor]) -> Tensor:
    """Returns the Euclidean norm of all gradients, sparse ones included, as a scalar; 0 where there is none."""
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    return torch.nn.utils.get_total_norm([each._values() if each.is_sparse else each for each in gradients])


def _bad(value: Tensor) -> bool:
    return not bool(torch.isfinite(value).all())


def _tensors(batch: Any) -> dict[str, Tensor]:
    """Returns the tensors of a batch by name, whether it has fields or is itself one."""
    parts = {"batch": batch} if isinstance(batch, Tensor) else vars(batch)
    return {name: value for name, value in parts.items() if isinstance(value, Tensor)}


def _named(kind: str, names: Sequence[object]) -> str:
    more = f" and {len(names) - NAMED:,} more" if len(names) > NAMED else ""
    return f", {kind} {', '.join(map(str, names[:NAMED]))}{more}" if names else ""
