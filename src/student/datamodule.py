"""Batches for students: training windows with a target at every position, and validation examples."""

from dataclasses import dataclass, fields

import lightning as L
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from ..core.batches import BatchLoader
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
        self.num_positions = end - start

    def __len__(self) -> int:
        return len(self.first_target)

    def __getitem__(self, rows: Tensor) -> WindowBatch:
        """Returns the windows of `rows`, padded to the longest of them."""
        num_positions = self.num_positions[rows]
        place = torch.arange(int(num_positions.max()))
        real = place < num_positions.unsqueeze(1)
        log_index = (self.first_target[rows].unsqueeze(1) + place).where(real, 1)
        return WindowBatch(
            history=self.item_log[log_index - 1].where(real, 0),
            target=self.item_log[log_index].where(real, 0),
            example_id=self.example_of_interaction[log_index].where(real, -1),
        )


class TrainingExamples:
    """Each training example by itself, one target after the newest L items of its history: for encoders that read a
    history as a whole. The same batches as `TrainingWindows`, with targets `[B, 1]`.
    """

    def __init__(self, dataset: Dataset, length: int) -> None:
        self.dataset, self.length = dataset, length
        self.examples = dataset.examples["train"]
        self.num_positions = self.examples.end.clamp(max=length)

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, rows: Tensor) -> WindowBatch:
        """Returns the examples of `rows`, padded to the longest of them."""
        batch = self.dataset.batch(self.examples.subset(rows), int(self.num_positions[rows].max()))
        return WindowBatch(batch.history, batch.target.unsqueeze(1), batch.example_id.unsqueeze(1))


class ExampleRows:
    """Examples of one split by row; `__getitem__` takes row numbers `[B]` and gathers them at once."""

    def __init__(self, dataset: Dataset, examples: Examples, length: int, with_seen: bool) -> None:
        self.dataset, self.examples, self.length, self.with_seen = dataset, examples, length, with_seen

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, rows: Tensor) -> ExampleBatch:
        return self.dataset.batch(self.examples.subset(rows), self.length, self.with_seen)


class StudentDataModule(L.LightningDataModule):
    """Training batches in an order drawn from `seed`, validation examples in their own order.

    Everything lies in memory as tensors; a batch is one gather, so there are no worker processes.

    Args:
        dataset: A prepared dataset.
        history_length: L.
        causal: Whether every position of a window is trained at once, or each example by itself.
        batch_positions: Positions per training batch, padding included.
        eval_batch_size: Validation examples per batch.
        filter_seen: Whether validation leaves seen items out of the ranking.
        seed: Seed of the training order.
    """

    def __init__(
        self,
        dataset: Dataset,
        history_length: int,
        causal: bool,
        batch_positions: int,
        eval_batch_size: int,
        filter_seen: bool,
        seed: int,
    ) -> None:
        super().__init__()
        self.dataset = dataset
        self.history_length = history_length
        self.batch_positions = batch_positions
        self.eval_batch_size = eval_batch_size
        self.filter_seen = filter_seen
        self.training = (TrainingWindows if causal else TrainingExamples)(dataset, history_length)
        self.generator = generator(seed)

    def train_dataloader(self) -> DataLoader:
        """Batches of rows of similar length, drawn anew every epoch (`reload_dataloaders_every_n_epochs=1`)."""
        return BatchLoader(self.training, self.training.num_positions, self.batch_positions, self.generator)

    def val_dataloader(self) -> DataLoader:
        rows = ExampleRows(self.dataset, self.dataset.examples["val"], self.history_length, self.filter_seen)
        batches = torch.arange(len(rows)).split(self.eval_batch_size)
        return DataLoader(rows, sampler=batches, batch_size=None)
