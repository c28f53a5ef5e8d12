"""What models are given, gathered by row number: windows of training histories, and examples of a split."""

from dataclasses import dataclass, fields
from typing import Generic, Protocol, TypeVar

import torch
from torch import Tensor

from .dataset import Dataset, ExampleBatch, Examples


@dataclass(frozen=True)
class WindowBatch:
    """Windows of training histories; each position's target is the next item, or only the last position's is there.

    history: `[B, L]` int64, right-padded with 0, oldest first.
    target: `[B, L]` int64 item numbers, 0 where there is none; or `[B, 1]`, what comes after the whole history.
    example_id: Like `target`, the train example that it is of, -1 where there is none.
    """

    history: Tensor
    target: Tensor
    example_id: Tensor

    def to(self, device: torch.device) -> "WindowBatch":
        return WindowBatch(*(getattr(self, field.name).to(device) for field in fields(self)))


TrainingBatch = ExampleBatch | WindowBatch  # what a step of training may be given
Batch = TypeVar("Batch", bound=TrainingBatch)
Batch_co = TypeVar("Batch_co", bound=TrainingBatch, covariant=True)


class Rows(Protocol[Batch_co]):
    """What a model is given, row by row."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: Tensor) -> Batch_co:
        """Returns the rows of these numbers, `[B]` int64, gathered at once."""


class ChosenRows(Generic[Batch]):
    """Some of other rows, numbered anew.

    Args:
        rows: The others.
        chosen: `[n]` int64, their numbers there.
    """

    def __init__(self, rows: Rows[Batch], chosen: Tensor) -> None:
        self.rows, self.chosen = rows, chosen

    def __len__(self) -> int:
        return len(self.chosen)

    def __getitem__(self, rows: Tensor) -> Batch:
        return self.rows[self.chosen[rows]]


class TrainingWindows:
    """Cuts each user's training part, from its end backwards, into windows of at most L positions.

    Every training example is the target of exactly one position. Nothing is copied: a window is (log index of the first
    position's target, number of positions, number of targets, which are its last positions).

    Args:
        dataset: A prepared dataset.
        length: L.
        overlap: Positions that a window repeats of the one before it, without targets: so many items, at least, stand
            before each target (or all that there are), where a part is longer than L. Below L.
    """

    def __init__(self, dataset: Dataset, length: int, overlap: int = 0) -> None:
        self.length = length
        self.item_log = dataset.item_log
        self.example_of_interaction = dataset.example_of_interaction()
        targets, new = (dataset.num_train - 1).clamp(min=0), length - overlap  # the first interaction has no history
        windows = (-(-(targets - length) // new)).clamp(min=0) + (targets > 0)  # the oldest has no other before it
        user = torch.repeat_interleave(torch.arange(dataset.num_users), windows)
        place = torch.arange(len(user)) - (windows.cumsum(0) - windows)[user]  # 0 = the window that ends the part
        end = targets[user] - place * new
        start = torch.where(place == windows[user] - 1, 0, end - new)
        first = (start - overlap).clamp(min=0)
        self.first_target = dataset.offsets[user] + 1 + first
        self.num_positions, self.num_targets = end - first, end - start

    def __len__(self) -> int:
        return len(self.first_target)

    def __getitem__(self, rows: Tensor) -> WindowBatch:
        """Returns the windows of `rows`, padded to the longest of them."""
        num_positions = self.num_positions[rows].unsqueeze(1)
        place = torch.arange(int(num_positions.max()))
        real = place < num_positions
        has_target = real & (place >= num_positions - self.num_targets[rows].unsqueeze(1))
        log_index = (self.first_target[rows].unsqueeze(1) + place).where(real, 1)
        return WindowBatch(
            history=self.item_log[log_index - 1].where(real, 0).long(),
            target=self.item_log[log_index].where(has_target, 0).long(),
            example_id=self.example_of_interaction[log_index].where(has_target, -1).long(),
        )


class TrainingExamples:
    """Each training example by itself, one target after the newest L items of its history: for encoders that read a
    history as a whole. The same batches as `TrainingWindows`, with targets `[B, 1]`.
    """

    def __init__(self, dataset: Dataset, length: int) -> None:
        self.dataset, self.length = dataset, length
        self.examples = dataset.examples["train"]
        self.num_targets = torch.ones(len(self.examples), dtype=torch.int64)

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, rows: Tensor) -> WindowBatch:
        """Returns the examples of `rows`, padded to the longest of them."""
        examples = self.examples.subset(rows)
        batch = self.dataset.batch(examples, min(self.length, int(examples.end.max())))
        return WindowBatch(batch.history, batch.target.unsqueeze(1), batch.example_id.unsqueeze(1))


class ExampleRows:
    """Examples of one split by row; `__getitem__` takes row numbers `[B]` and gathers them at once."""

    def __init__(self, dataset: Dataset, examples: Examples, length: int, with_seen: bool) -> None:
        self.dataset, self.examples, self.length, self.with_seen = dataset, examples, length, with_seen

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, rows: Tensor) -> ExampleBatch:
        return self.dataset.batch(self.examples.subset(rows), self.length, self.with_seen)


def newest(history: Tensor, length: int) -> Tensor:
    """Returns the newest `length` items of histories `[B, L]` int64, right-padded with 0 to the longest of them."""
    real = (history > 0).sum(1, keepdim=True)
    place = (real - length).clamp(min=0) + torch.arange(min(length, int(real.max())), device=history.device)
    return history.gather(1, place.clamp(max=history.shape[1] - 1)).where(place < real, 0)
