"""Trains a student without a teacher: cross-entropy over the whole catalogue at every position."""

import lightning as L
import torch
import torch.nn.functional as F
from torch import Tensor

from ..core.dataset import ExampleBatch
from ..core.metrics import ndcg, rank_of_target
from .datamodule import WindowBatch
from .models import SequentialRecommender


class NextItemModule(L.LightningModule):
    """The training loop's view of a student.

    Args:
        model: The student.
        lr: Learning rate of Adam.
        weight_decay: Decoupled weight decay (AdamW).
    """

    def __init__(self, model: SequentialRecommender, lr: float, weight_decay: float) -> None:
        super().__init__()
        self.model = model
        self.lr = lr
        self.weight_decay = weight_decay
        self.val_ranks: list[Tensor] = []

    def loss_terms(self, batch: WindowBatch) -> dict[str, Tensor]:
        """Returns the named terms, each a scalar with its weight applied, whose sum is the loss."""
        scores, target, _ = self.scores_with_targets(batch)
        return {"cross_entropy": F.cross_entropy(scores, target - 1)}

    def scores_with_targets(self, batch: WindowBatch) -> tuple[Tensor, Tensor, Tensor]:
        """Returns scores `[M, num_items]`, targets `[M]`, example ids `[M]` of the M positions that have a target."""
        real = batch.target > 0
        hidden = self.model.encode(batch.history)[real]
        return self.model.score(hidden), batch.target[real], batch.example_id[real]

    def training_step(self, batch: WindowBatch, batch_idx: int) -> Tensor:
        terms = self.loss_terms(batch)
        total = torch.stack(list(terms.values())).sum()
        self.log_dict({f"train/{name}": value for name, value in terms.items()}, batch_size=len(batch.history))
        self.log("train/loss", total, batch_size=len(batch.history))
        return total

    def validation_step(self, batch: ExampleBatch, batch_idx: int) -> None:
        self.val_ranks.append(rank_of_target(self.model.predict(batch.history), batch.target))

    def on_validation_epoch_end(self) -> None:
        self.log("val/NDCG@10", ndcg(torch.cat(self.val_ranks), 10).mean().float())
        self.val_ranks.clear()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), lr=self.lr, weight_decay=self.weight_decay, fused=True)
