"""Trains a student without a teacher."""

import lightning as L
import torch
from torch import Tensor

from ..core.dataset import ExampleBatch
from ..core.metrics import ndcg, rank_of_target
from .datamodule import WindowBatch
from .losses import NextItemLoss
from .models import SequentialRecommender


class NextItemModule(L.LightningModule):
    """The training loop's view of a student.

    Args:
        model: The student.
        loss: What is minimised.
        lr: Learning rate of AdamW.
        weight_decay: Decoupled weight decay (AdamW).
    """

    def __init__(self, model: SequentialRecommender, loss: NextItemLoss, lr: float, weight_decay: float) -> None:
        super().__init__()
        self.model = model
        self.loss = loss
        self.lr = lr
        self.weight_decay = weight_decay
        self.val_ranks: list[Tensor] = []

    def loss_terms(self, batch: WindowBatch) -> dict[str, Tensor]:
        """Returns the named terms, each a scalar with its weight applied, whose sum is the loss."""
        hidden, target, _ = self.states_with_targets(batch)
        return {"next_item": self.loss(self.model, hidden, target)}

    def states_with_targets(self, batch: WindowBatch) -> tuple[Tensor, Tensor, Tensor]:
        """Returns states `[M, D]`, targets `[M]` and example ids `[M]` of the M positions that have a target."""
        real = batch.target > 0
        return self.model.encode(batch.history)[real], batch.target[real], batch.example_id[real]

    def training_step(self, batch: WindowBatch, batch_idx: int) -> Tensor:
        terms = self.loss_terms(batch)
        total = torch.stack(list(terms.values())).sum()
        self.log_dict({f"train/{name}": value for name, value in terms.items()}, batch_size=len(batch.history))
        self.log("train/loss", total, batch_size=len(batch.history))
        return total

    def validation_step(self, batch: ExampleBatch, batch_idx: int) -> None:
        self.val_ranks.append(rank_of_target(self.model.predict(batch.history), batch.target, batch.seen))

    def on_validation_epoch_end(self) -> None:
        self.log("val/NDCG@10", ndcg(torch.cat(self.val_ranks), 10).mean().float())
        self.val_ranks.clear()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), lr=self.lr, weight_decay=self.weight_decay, fused=True)
