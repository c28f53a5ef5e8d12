"""The learning curve of a training: what every validation found, and after how long."""

import time
from typing import Any

import lightning as L
import torch
from lightning.pytorch.utilities.types import STEP_OUTPUT
from torch import Tensor

CROSS_ENTROPY = "val/cross_entropy"


class Curve(L.Callback):
    """Keeps a point for each validation: optimiser steps, seconds since the training began, the monitored figure, the
    validation's cross-entropy where there is one, and the mean of every `train/…` figure over the batches since the
    validation before. A training that is gone on with keeps the points of its checkpoint, and its seconds go on from
    there: a break is not counted.

    Args:
        monitor: The figure that is to rise.
    """

    def __init__(self, monitor: str) -> None:
        self.monitor = monitor
        self.points: list[dict[str, float | int]] = []
        self.before = 0.0  # seconds of the starts before this one
        self.began: float | None = None
        self.sums: dict[str, Tensor] = {}
        self.batches = 0

    @property
    def seconds(self) -> float:
        """Of training so far."""
        return self.before + (0.0 if self.began is None else time.monotonic() - self.began)

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.began = time.monotonic()

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: STEP_OUTPUT, batch: Any, batch_idx: int
    ) -> None:
        for name, value in trainer.callback_metrics.items():
            if name.startswith("train/"):
                value = value.detach()  # added up where it lies: a GPU is not waited for
                self.sums[name] = self.sums[name] + value if name in self.sums else value
        self.batches += 1

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        means = {name: float(total) / self.batches for name, total in self.sums.items()}
        told = [name for name in (self.monitor, CROSS_ENTROPY) if name in trainer.callback_metrics]
        found = {name: float(trainer.callback_metrics[name]) for name in told} | means
        self.points.append({"step": trainer.global_step, "seconds": round(self.seconds, 3), **found})
        self.sums, self.batches = {}, 0

    def state_dict(self) -> dict[str, Any]:
        return {
            "points": self.points,
            "seconds": self.seconds,
            "sums": {name: float(total) for name, total in self.sums.items()},
            "batches": self.batches,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.points, self.before = state_dict["points"], state_dict["seconds"]
        self.sums = {name: torch.tensor(total) for name, total in state_dict["sums"].items()}
        self.batches = state_dict["batches"]
