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

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Examples:
    """The examples of one split, ordered by (user, end).

    example_id: `[n]` int64, unique over all splits, train first.
    user: `[n]` int64.
    end: `[n]` int64, position of the target in the user's log, at least 1; the history is every position before it.
    """

    example_id: Tensor
    user: Tensor
    end: Tensor

    def __len__(self) -> int:
        return len(self.example_id)

    def subset(self, rows: Tensor) -> "Examples":
        """Returns the examples at `rows` (`[m]` int64 indices or `[n]` bool), in that order."""
        return Examples(self.example_id[rows], self.user[rows], self.end[rows])

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

    item_log: `[num_interactions]` int64, every user's items, user after user, oldest first.
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
        manifest = opened(folder, DATASET, "name", "fingerprint")
        users = _read_table(folder / "users.parquet", num_interactions=True, num_train=True)
        items = _read_table(folder / "items.parquet", raw_id=False, title=False, text=False)
        end_of_user = users["num_interactions"].cast(pl.Int64).cum_sum()
        dataset = cls(
            name=manifest["name"],
            fingerprint=manifest["fingerprint"],
            folder=folder,
            item_log=_int64(_read_table(folder / "interactions.parquet", item=True)["item"]),
            offsets=torch.cat([torch.zeros(1, dtype=torch.int64), _int64(end_of_user)]),
            num_train=_int64(users["num_train"]),
            catalogue=Catalogue(items["raw_id"].to_list(), items["title"].to_list(), items["text"].to_list()),
            examples={split: _read_examples(folder / f"examples_{split}.parquet") for split in SPLITS},
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
            faults[f"users.parquet and examples_{split}.parquet"] = not (
                _within(examples.user, 0, self.num_users - 1) and _within(examples.end, 1, lengths[examples.user] - 1)
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
        history, target = self.item_log[index].where(real, 0), self.item_log[target_index]
        seen = self.batch(examples, int(examples.end.max())).history if with_seen else None
        return ExampleBatch(examples.example_id, history, target, seen)

    def train_item_counts(self) -> Tensor:
        """Returns `[num_items + 1]` int64: interactions of each item in the training part; [0] is 0."""
        return torch.bincount(self.item_log[self.in_training_part], minlength=self.num_items + 1)

    def example_of_interaction(self) -> Tensor:
        """Returns `[num_interactions]` int64: the train example whose target this interaction is, or -1."""
        train = self.examples["train"]
        example = torch.full_like(self.item_log, -1)
        example[self.offsets[train.user] + train.end] = train.example_id
        return example

    def raw_user_ids(self) -> list[str]:
        """Returns the raw log's id of every user, read from the prepared dataset's folder.

        Raises:
            UserError: The table of users is not there or damaged.
        """
        return _read_table(self.folder / "users.parquet", raw_id=False)["raw_id"].to_list()

    @cached_property
    def in_training_part(self) -> Tensor:
        """`[num_interactions]` bool: which interactions are of the training part."""
        position = torch.arange(len(self.item_log)) - self.offsets[:-1].repeat_interleave(self.offsets.diff())
        return position < self.num_train.repeat_interleave(self.offsets.diff())


def _read_examples(path: Path) -> Examples:
    frame = _read_table(path, example_id=True, user=True, end=True)
    return Examples(_int64(frame["example_id"]), _int64(frame["user"]), _int64(frame["end"]))


def _read_table(path: Path, **whole: bool) -> pl.DataFrame:
    """Reads columns by name; `whole` says which hold whole numbers, the others texts."""
    try:
        table = pl.read_parquet(path, columns=list(whole))
    except (pl.exceptions.PolarsError, OSError) as error:
        raise _no_table(path, str(error).splitlines()[0]) from None
    for name, numbers in whole.items():
        kind = table[name].dtype
        if table[name].has_nulls() or not (kind.is_integer() if numbers else kind == pl.String):
            raise _no_table(path, f"column {name}: {kind}, {table[name].null_count()} missing")
    return table


def _no_table(path: Path, why: str) -> UserError:
    return UserError(
        f"{path} is not the table of a prepared dataset, or is cut short ({why}): delete the folder and prepare "
        "it again."
    )


def _within(numbers: Tensor, least: int, most: int | Tensor) -> bool:
    return bool(((numbers >= least) & (numbers <= most)).all())


def _int64(column: pl.Series) -> Tensor:
    return column.cast(pl.Int64).to_torch()
