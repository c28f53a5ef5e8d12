"""Batches for students: training windows with a target at every position, and validation examples."""

from dataclasses import dataclass, fields

import lightning as L
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from ..core.batches import token_batches
from ..core.dataset import Dataset, ExampleBatch, Examples
from ..core.seed import generator


@dataclass(frozen=True)
class WindowBatch:
    """Windows of training histories; each position's target is the next item.

    history: `[B, L]` int64, right-padded with 0, oldest first.
    target: `[B, L]` int64 item numbers, 0 where there is none.
    example_id: `[B, L]` int64, the train example that the position is, -1 where there is none.
    """

    history: Tensor
    target: Tensor
    example_id: Tensor

    def to(self, device: torch.device) -> "WindowBatch":
        return WindowBatch(*(getattr(self, field.name).to(device) for field in fields(self)))


class TrainingWindows:
    """Cuts each user's training part, from its end backwards, into windows of at most L targets.

    Every training example is the target of exactly one position. Nothing is copied: a window is (first log index of its
    targets, number of targets).
    """

    def __init__(self, dataset: Dataset, length: int) -> None:
        self.length = length
        self.item_log = dataset.item_log
        self.example_of_interaction = dataset.example_of_interaction()
        targets = (dataset.num_train - 1).clamp(min=0)  # the first interaction has no history
        windows = -(-targets // length)
        user = torch.repeat_interleave(torch.arange(dataset.num_users), windows)
        place = torch.arange(len(user)) - (windows.cumsum(0) - windows)[user]  # 0 = the window that ends the part
        end = targets[user] - place * length
        start = (end - length).clamp(min=0)
        self.first_target = dataset.offsets[user] + 1 + start
        self.num_targets = end - start

    def __len__(self) -> int:
        return len(self.first_target)

    def __getitem__(self, rows: Tensor) -> WindowBatch:
        """Returns the windows of `rows`, padded to the longest of them."""
        num_targets = self.num_targets[rows]
        place = torch.arange(int(num_targets.max()))
        real = place < num_targets.unsqueeze(1)
        log_index = (self.first_target[rows].unsqueeze(1) + place).where(real, 1)
        return WindowBatch(
            history=self.item_log[log_index - 1].where(real, 0),
            target=self.item_log[log_index].where(real, 0),
            example_id=self.example_of_interaction[log_index].where(real, -1),
        )


class ExampleRows:
    """Examples of one split by row; `__getitem__` takes row numbers `[B]` and gathers them at once."""

    def __init__(self, dataset: Dataset, examples: Examples, length: int) -> None:
        self.dataset, self.examples, self.length = dataset, examples, length

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, rows: Tensor) -> ExampleBatch:
        return self.dataset.batch(self.examples.subset(rows), self.length)


class StudentDataModule(L.LightningDataModule):
    """Training windows in an order drawn from `seed`, validation examples in their own order.

    Everything lies in memory as tensors; a batch is one gather, so there are no worker processes.

    Args:
        dataset: A prepared dataset.
        history_length: L.
        batch_positions: Positions per training batch, padding included.
        eval_batch_size: Validation examples per batch.
        seed: Seed of the training order.
    """

    def __init__(
        self, dataset: Dataset, history_length: int, batch_positions: int, eval_batch_size: int, seed: int
    ) -> None:
        super().__init__()
        self.dataset = dataset
        self.history_length = history_length
        self.batch_positions = batch_positions
        self.eval_batch_size = eval_batch_size
        self.windows = TrainingWindows(dataset, history_length)
        self.generator = generator(seed)

    def train_dataloader(self) -> DataLoader:
        """Batches of windows of similar length, drawn anew every epoch (`reload_dataloaders_every_n_epochs=1`)."""
        batches = token_batches(self.windows.num_targets, self.batch_positions, self.generator)
        return DataLoader(self.windows, sampler=batches, batch_size=None)

    def val_dataloader(self) -> DataLoader:
        rows = ExampleRows(self.dataset, self.dataset.examples["val"], self.history_length)
        batches = torch.arange(len(rows)).split(self.eval_batch_size)
        return DataLoader(rows, sampler=batches, batch_size=None)
