"""A training whose course is known beforehand."""

from pathlib import Path
from typing import Any

import lightning as L
import torch
from torch.utils.data import DataLoader

from src.training.loop import Plan, fit

STEPS = 3  # of one epoch


class Scripted(L.LightningModule):
    """Adds 1 to its only parameter in each step, and reports NDCG@10 as scripted, one value per validation."""

    def __init__(self, ndcg: list[float], nan_at: int | None = None) -> None:
        super().__init__()
        self.value = torch.nn.Parameter(torch.zeros(()))
        self.ndcg, self.nan_at = ndcg, nan_at
        self.steps = 0  # taken by this object

    def training_step(self, batch: torch.Tensor, batch_idx: int) -> torch.Tensor:
        self.steps += 1
        return -self.value * (float("nan") if self.global_step == self.nan_at else 1)

    def validation_step(self, batch: torch.Tensor, batch_idx: int) -> None:
        step = max(0, self.global_step)
        self.log("val/NDCG@10", self.ndcg[step // STEPS - 1])
        self.log("val/cross_entropy", 9.0 - step)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=1.0)


class Numbers(L.LightningDataModule):
    def train_dataloader(self) -> DataLoader:
        return DataLoader(torch.zeros(STEPS), batch_size=1)

    def val_dataloader(self) -> DataLoader:
        return DataLoader(torch.zeros(1), batch_size=1)


def plan_of(
    run_dir: Path, max_epochs: int = 10, patience: int = 10, resume_from: Path | None = None, dataset: str = "0123"
) -> Plan:
    return Plan(
        stage="tiny",
        monitor="val/NDCG@10",
        made_from={"dataset": dataset, "model": {"width": 1}},
        kept_in=run_dir / "kept",
        run_dir=run_dir,
        max_epochs=max_epochs,
        patience=patience,
        precision="32-true",
        resume_from=resume_from,
    )


def run(module: Scripted, run_dir: Path, **how: Any) -> dict[str, float | int]:
    """Trains `module` as `plan_of` says; returns what is found but for the learning curve."""
    result = fit(module, Numbers(), plan_of(run_dir, **how))
    return {name: value for name, value in result.items() if name != "curve"}


def curve_of(module: Scripted, run_dir: Path, **how: Any) -> list[dict[str, float | int]]:
    """Trains likewise; returns the learning curve."""
    return fit(module, Numbers(), plan_of(run_dir, **how))["curve"]


def last(run_dir: Path) -> Path:
    return run_dir / "kept" / "last.ckpt"
