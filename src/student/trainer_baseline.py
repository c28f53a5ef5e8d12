"""Trains a student without a teacher."""

from dataclasses import dataclass
from functools import partial

import lightning as L
import torch
from torch import Tensor

from ..core.dataset import ExampleBatch
from ..core.metrics import ndcg, rank_of_target
from ..core.schedule import warmup_constant, warmup_cosine
from .datamodule import WindowBatch
from .losses import NextItemLoss
from .models import SequentialRecommender
from .optimizer import RowwiseAdamW


@dataclass(frozen=True)
class Optimisation:
    """AdamW and the course of its learning rate.

    lr: The full learning rate.
    weight_decay: Decoupled.
    schedule: "constant", or "cosine" down to 0 at the end of the last epoch that is allowed.
    warmup_share: Share of all steps in which the learning rate rises linearly to its full value.
    sparse_items: Whether only the items of a batch are moved on (`RowwiseAdamW`): for large catalogues and a loss that
        does not score all of them.
    """

    lr: float
    weight_decay: float
    schedule: str
    warmup_share: float
    sparse_items: bool

    def lr_factor(self, step: int, steps: int) -> float:
        """Returns the factor on the full learning rate at `step` of `steps`."""
        warmup = round(self.warmup_share * steps)
        return warmup_cosine(step, warmup, steps) if self.schedule == "cosine" else warmup_constant(step, warmup)


class NextItemModule(L.LightningModule):
    """The training loop's view of a student.

    Args:
        model: The student.
        loss: What is minimised.
        optimisation: How.
    """

    def __init__(self, model: SequentialRecommender, loss: NextItemLoss, optimisation: Optimisation) -> None:
        super().__init__()
        self.model = model
        self.loss = loss
        self.optimisation = optimisation
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

    def configure_optimizers(self) -> dict:
        how, steps = self.optimisation, int(self.trainer.estimated_stepping_batches)
        if how.sparse_items:
            optimizer = self._rowwise()
        else:
            optimizer = torch.optim.AdamW(self.parameters(), lr=how.lr, weight_decay=how.weight_decay, fused=True)
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, partial(how.lr_factor, steps=steps))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def _rowwise(self) -> RowwiseAdamW:
        table = self.model.items.ids
        table.sparse = True
        others = [parameter for parameter in self.parameters() if parameter is not table.weight]
        return RowwiseAdamW([table.weight], others, self.optimisation.lr, self.optimisation.weight_decay)
