"""Batches of rows of similar length, so that almost no padding is computed."""

from collections.abc import Iterator
from typing import Any, cast

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from .rows import Rows


def token_batches(lengths: Tensor, max_tokens: int, generator: torch.Generator | None = None) -> list[Tensor]:
    """Splits rows into batches whose padded size stays under a budget.

    Args:
        lengths: `[n]` int64, tokens of each row.
        max_tokens: Upper bound of rows x longest row in a batch; a single longer row makes a batch of its own.
        generator: Draws which of equally long rows go together and the order of the batches; None keeps batches from
            the longest to the shortest, so that the largest memory is asked for first.

    Returns:
        Row numbers of each batch; every row stands in exactly one.
    """
    if generator is None:
        order = lengths.argsort(descending=True, stable=True)
    else:
        shuffled = torch.randperm(len(lengths), generator=generator)
        order = shuffled[lengths[shuffled].argsort(descending=True, stable=True)]
    batches, start = [], 0
    while start < len(order):
        size = max(1, max_tokens // max(1, int(lengths[order[start]])))
        batches.append(order[start : start + size])
        start += size
    if generator is None:
        return batches
    return [batches[i] for i in torch.randperm(len(batches), generator=generator)]


class BatchLoader(DataLoader):
    """Rows in batches of `token_batches`; a checkpoint within an epoch knows which batches are still to come.

    Args:
        rows: What the batches are made of.
        lengths, max_tokens, generator: See `token_batches`.
    """

    sampler: "_Batches"

    def __init__(self, rows: Rows[Any], lengths: Tensor, max_tokens: int, generator: torch.Generator) -> None:
        super().__init__(_as_dataset(rows), sampler=_Batches(lengths, max_tokens, generator), batch_size=None)

    def state_dict(self) -> dict[str, Any]:
        """Returns what the order was drawn from, and how many batches were given."""
        return {"drawn_from": self.sampler.drawn_from, "given": self.sampler.given}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on behind the last batch that was given."""
        self.sampler.draw(state_dict["drawn_from"])
        self.sampler.given = state_dict["given"]


def loader_in_order(rows: Rows[Any], batch_rows: int) -> DataLoader:
    """Returns the loader of all rows in their own order, `batch_rows` at a time."""
    return DataLoader(_as_dataset(rows), sampler=torch.arange(len(rows)).split(batch_rows), batch_size=None)


def _as_dataset(rows: Rows[Any]) -> Dataset[Any]:
    return cast("Dataset[Any]", rows)  # all that a loader asks for is what rows have


class _Batches(Sampler):
    def __init__(self, lengths: Tensor, max_tokens: int, generator: torch.Generator) -> None:
        self.lengths, self.max_tokens, self.generator = lengths, max_tokens, generator
        self.draw(generator.get_state())

    def draw(self, state: Tensor) -> None:
        self.drawn_from, self.given = state, 0
        self.generator.set_state(state)
        self.batches = token_batches(self.lengths, self.max_tokens, self.generator)

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Tensor]:
        while self.given < len(self.batches):
            self.given += 1
            yield self.batches[self.given - 1]
        self.given = 0
