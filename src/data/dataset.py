"""A prepared dataset in memory: one flat item log, and examples that are windows into it."""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import polars as pl
import torch
from torch import Tensor
from typing_extensions import Self

from ..core.artefact import DATASET, opened
from ..core.errors import UserError
from .catalogue import Catalogue
from .preparation.columns import pieces
from .stored import AT_ONCE, SPLITS, long_columns, read_table


class Examples:
    """The examples of one split, ordered by (user, end). Kept as they are given, int32 perhaps; told as int64.

    Args:
        example_id: `[n]`, unique over all splits, train first.
        user: `[n]`.
        end: `[n]`, position of the target in the user's log, at least 1; the history is every position before it.
    """

    def __init__(self, example_id: Tensor, user: Tensor, end: Tensor) -> None:
        self._columns = example_id, user, end

    def __len__(self) -> int:
        return len(self._columns[0])

    @property
    def example_id(self) -> Tensor:
        """`[n]` int64."""
        return self._columns[0].long()

    @property
    def user(self) -> Tensor:
        """`[n]` int64."""
        return self._columns[1].long()

    @property
    def end(self) -> Tensor:
        """`[n]` int64."""
        return self._columns[2].long()

    def subset(self, rows: Tensor | slice) -> "Examples":
        """Returns the examples at `rows` (`[m]` int64 indices, `[n]` bool or a slice), in that order."""
        example_id, user, end = (column[rows].long() for column in self._columns)
        return Examples(example_id, user, end)

    def sample(self, most: int, generator: torch.Generator) -> "Examples":
        """Returns `most` of the examples, drawn without replacement and kept in order; all of them for -1."""
        if most == -1 or most >= len(self):
            return self
        return self.subset(torch.randperm(len(self), generator=generator)[:most].sort().values)


@dataclass(frozen=True)
class ExampleBatch:
    """Examples with their histories written out.

    example_id: `[B]` int64.
    history: `[B, L]` int64, right-padded with 0, oldest first; the newest L items where there are more.
    target: `[B]` int64 item numbers.
    seen: `[B, S]` int64, the whole history padded with 0, where seen items are left out of the ranking; else None.
    """

    example_id: Tensor
    history: Tensor
    target: Tensor
    seen: Tensor | None = None

    def to(self, device: torch.device | str) -> Self:
        return replace(self, **{name: part.to(device) for name, part in vars(self).items() if part is not None})


@dataclass(frozen=True)
class Dataset:
    """A prepared dataset. Users are 0..num_users-1, items 1..num_items, 0 is padding.

    item_log: `[num_interactions]` int32, every user's items, user after user, oldest first; a mapped file if long.
    offsets: `[num_users + 1]` int64; user u owns `item_log[offsets[u]:offsets[u + 1]]`.
    num_train: `[num_users]` int64; the first `num_train[u]` interactions of u are the training part.
    examples: By split: "train", "val", "test".
    """

    name: str
    fingerprint: str
    folder: Path
    item_log: Tensor
    offsets: Tensor
    num_train: Tensor
    catalogue: Catalogue
    examples: dict[str, Examples]

    @classmethod
    def load(cls, folder: Path) -> "Dataset":
        """Reads the artefact that `prepare_dataset` wrote.

        Raises:
            UserError: `folder` holds no prepared dataset, one that has changed since, or tables that do not go
                together.
        """
        manifest = opened(folder, DATASET, "name", "fingerprint", "counts")
        long = long_columns(folder, manifest)
        users = read_table(folder / "users.parquet", num_interactions=True, num_train=True)
        items = read_table(folder / "items.parquet", raw_id=False, title=False, text=False)
        end_of_user = users["num_interactions"].cast(pl.Int64).cum_sum()
        dataset = cls(
            name=manifest["name"],
            fingerprint=manifest["fingerprint"],
            folder=folder,
            item_log=long["interactions.item"],
            offsets=torch.cat([torch.zeros(1, dtype=torch.int64), _int64(end_of_user)]),
            num_train=_int64(users["num_train"]),
            catalogue=Catalogue(items["raw_id"].to_list(), items["title"].to_list(), items["text"].to_list()),
            examples={
                split: Examples(*(long[f"examples_{split}.{name}"] for name in ("example_id", "user", "end")))
                for split in SPLITS
            },
        )
        dataset._refuse_what_does_not_go_together()
        return dataset

    def _refuse_what_does_not_go_together(self) -> None:
        lengths = self.offsets.diff()
        faults = {
            "users.parquet and interactions.parquet": len(self.item_log) != self.offsets[-1]
            or not _within(self.num_train, 0, lengths),
            "items.parquet and interactions.parquet": not _within(self.item_log, 1, self.num_items),
        }
        for split, examples in self.examples.items():
            faults[f"users.parquet and examples_{split}.parquet"] = not all(
                _within(some.user, 0, self.num_users - 1) and _within(some.end, 1, lengths[some.user] - 1)
                for some in map(examples.subset, pieces(len(examples), AT_ONCE))
            )
        for tables, differ in faults.items():
            if differ:
                raise UserError(
                    f"{tables} of {self.folder} do not go together: delete the folder and prepare it again."
                )

    @property
    def num_users(self) -> int:
        return len(self.num_train)

    @property
    def num_items(self) -> int:
        return self.catalogue.num_items

    def batch(self, examples: Examples, length: int, with_seen: bool = False) -> ExampleBatch:
        """Gathers the newest `length` items of each history, and the targets, in one indexing each.

        Args:
            examples: At least one.
            length: L.
            with_seen: Whether the whole histories are gathered too, as `ExampleBatch.seen`.
        """
        target_index = self.offsets[examples.user] + examples.end
        shown = examples.end.clamp(max=length).unsqueeze(1)  # [B, 1]
        place = torch.arange(length)
        real = place < shown  # [B, L]; padding is told by place, never by value
        index = (target_index.unsqueeze(1) - shown + place).where(real, 0)
        history, target = self.item_log[index].where(real, 0).long(), self.item_log[target_index].long()
        seen = self.batch(examples, int(examples.end.max())).history if with_seen else None
        return ExampleBatch(examples.example_id, history, target, seen)

    def train_item_counts(self) -> Tensor:
        """Returns `[num_items + 1]` int64: interactions of each item in the training part; [0] is 0."""
        return torch.bincount(self.item_log[self.in_training_part], minlength=self.num_items + 1)

    def example_of_interaction(self) -> Tensor:
        """Returns `[num_interactions]` int32: the train example whose target this interaction is, or -1."""
        train = self.examples["train"]
        example = torch.full((len(self.item_log),), -1, dtype=torch.int32)
        for some in map(train.subset, pieces(len(train), AT_ONCE)):
            example[self.offsets[some.user] + some.end] = some.example_id.int()
        return example

    def raw_user_ids(self) -> list[str]:
        """Returns the raw log's id of every user, read from the prepared dataset's folder.

        Raises:
            UserError: The table of users is not there or damaged.
        """
        return read_table(self.folder / "users.parquet", raw_id=False)["raw_id"].to_list()

    @cached_property
    def in_training_part(self) -> Tensor:
        """`[num_interactions]` bool: which interactions are of the training part."""
        change = torch.zeros(len(self.item_log) + 1, dtype=torch.int8)  # +1 where a training part begins, -1 behind it
        begins, one = self.offsets[:-1], torch.ones(self.num_users, dtype=torch.int8)
        change.index_add_(0, begins, one).index_add_(0, begins + self.num_train, -one)
        return change[:-1].cumsum(0, dtype=torch.int8).bool()


def _within(numbers: Tensor, least: int, most: int | Tensor) -> bool:
    return bool(((numbers >= least) & (numbers <= most)).all())


def _int64(column: pl.Series) -> Tensor:
    return column.cast(pl.Int64).to_torch()
