"""Batches for students: training windows with a target at every position, and validation examples."""

import lightning as L
from torch.utils.data import DataLoader

from ..core.seed import generator
from ..data.batches import BatchLoader, loader_in_order
from ..data.dataset import Dataset
from ..data.rows import ExampleRows, TrainingExamples, TrainingWindows


class StudentDataModule(L.LightningDataModule):
    """Training batches in an order drawn from `seed`, validation examples in their own order.

    Everything lies in memory as tensors; a batch is one gather, so there are no worker processes.

    Args:
        dataset: A prepared dataset.
        history_length: L.
        every_position: Whether every position of a window is trained at once, or each example by itself.
        overlap: Of windows, see `TrainingWindows`.
        batch_targets: Targets per training batch, those that shorter windows of a batch lack included.
        eval_batch_size: Validation examples per batch.
        filter_seen: Whether validation leaves seen items out of the ranking.
        seed: Seed of the training order.
    """

    def __init__(
        self,
        dataset: Dataset,
        history_length: int,
        every_position: bool,
        overlap: int,
        batch_targets: int,
        eval_batch_size: int,
        filter_seen: bool,
        seed: int,
    ) -> None:
        super().__init__()
        self.dataset = dataset
        self.history_length = history_length
        self.batch_targets = batch_targets
        self.eval_batch_size = eval_batch_size
        self.filter_seen = filter_seen
        self.training = (
            TrainingWindows(dataset, history_length, overlap)
            if every_position
            else TrainingExamples(dataset, history_length)
        )
        self.generator = generator(seed)

    def train_dataloader(self) -> DataLoader:
        """Batches drawn anew every epoch (`reload_dataloaders_every_n_epochs=1`): of windows of similar length, or of
        examples of any length.
        """
        return BatchLoader(self.training, self.training.num_targets, self.batch_targets, self.generator)

    def val_dataloader(self) -> DataLoader:
        rows = ExampleRows(self.dataset, self.dataset.examples["val"], self.history_length, self.filter_seen)
        return loader_in_order(rows, self.eval_batch_size)
