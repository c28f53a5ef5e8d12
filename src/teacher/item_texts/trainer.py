"""Trains the map of encodings of texts."""

from functools import partial
from typing import Any

import lightning as L
import torch
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor
from torch.utils.data import DataLoader

from ...core.metrics import in_tiles, ndcg, rank_of_target
from ...core.seed import generator
from ...data.batches import BatchLoader, loader_in_order
from ...data.dataset import Dataset, ExampleBatch
from ...data.rows import ExampleRows, TrainingWindows, WindowBatch
from ...training.schedule import warmup_cosine
from .likeness import NEWEST, TextLikeness
from .settings import EncoderSettings
from .text_map import TextMap, next_text_loss


class TextMapModule(L.LightningModule):
    """The training loop's view of a map; validated by how the likeness of what it makes ranks.

    Args:
        texts: The map.
        encodings: `[num_items, d]`, as the language model made them.
        settings: Key `encoder`.
        seed: Of what is drawn.
    """

    x: Tensor

    def __init__(self, texts: TextMap, encodings: Tensor, settings: EncoderSettings, seed: int) -> None:
        super().__init__()
        self.texts = texts
        self.settings = settings
        self.draw = generator(seed)
        self.register_buffer("x", texts.whitened(encodings), persistent=False)
        self.val_ranks: list[Tensor] = []

    def training_step(self, batch: WindowBatch, batch_idx: int) -> Tensor:
        loss = next_text_loss(self.texts, self.x, batch, self.settings, self.draw)
        self.log("train/loss", loss.detach(), batch_size=len(batch.target))
        return loss

    def on_validation_epoch_start(self) -> None:
        self.likeness = TextLikeness(self.encodings(), self.settings.decay, whitening=0.0).to(self.device).eval()

    def validation_step(self, batch: ExampleBatch, batch_idx: int) -> None:
        self.val_ranks.append(ranks(self.likeness, batch))

    def on_validation_epoch_end(self) -> None:
        self.log("val/NDCG@10", ndcg(torch.cat(self.val_ranks), 10).mean().float())
        self.val_ranks.clear()
        del self.likeness  # else it would be a part of this module, and of its checkpoint

    @torch.no_grad()
    def encodings(self) -> Tensor:
        """Returns the catalogue's encodings as they are now, `[num_items, d]` float32."""
        return self.texts(self.x)

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        how, steps = self.settings, int(self.trainer.estimated_stepping_batches)
        optimizer = torch.optim.AdamW(self.texts.parameters(), lr=how.lr, weight_decay=how.weight_decay)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, partial(warmup_cosine, warmup=0, steps=steps))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


class TextMapDataModule(L.LightningDataModule):
    """Windows of training histories, and validation examples.

    Args:
        dataset: A prepared dataset.
        settings: Key `encoder`.
        eval_batch_size: Validation examples per batch.
        filter_seen: Whether validation leaves seen items out of the ranking.
        seed: Of the draw of validation examples and of the training order.
    """

    def __init__(
        self, dataset: Dataset, settings: EncoderSettings, eval_batch_size: int, filter_seen: bool, seed: int
    ) -> None:
        super().__init__()
        self.windows, self.batch_targets = TrainingWindows(dataset, NEWEST), settings.batch_targets
        examples = dataset.examples["val"].sample(settings.max_val_examples, generator(seed))
        self.val_rows = ExampleRows(dataset, examples, NEWEST, filter_seen)
        self.eval_batch_size = eval_batch_size
        self.generator = generator(seed)

    def train_dataloader(self) -> DataLoader:
        return BatchLoader(self.windows, self.windows.num_targets, self.batch_targets, self.generator)

    def val_dataloader(self) -> DataLoader:
        return loader_in_order(self.val_rows, self.eval_batch_size)


def ranks(likeness: TextLikeness, batch: ExampleBatch) -> Tensor:
    """Returns the ranks `[B]` of a batch's targets."""
    tiles: Any = in_tiles(likeness.predictions(batch.history), likeness.num_items, batch.target, batch.seen)
    return torch.cat([rank_of_target(*tile) for tile in tiles])


@torch.no_grad()
def ndcg_of(likeness: TextLikeness, data: TextMapDataModule) -> float:
    """Returns validation NDCG@10, on the CPU: what a map is to be held against."""
    found = torch.cat([ranks(likeness, batch) for batch in data.val_dataloader()])
    return float(ndcg(found, 10).mean().float())  # rounded as the monitored figure is, so that equal ones are equal
