"""Candidate lists of the generation objective: the target among items that the user has not met."""

import torch
from torch import Tensor

from ...core.errors import UserError
from ...core.seed import generator
from ...data.dataset import Dataset, Examples

STRIDE = 1_000_003  # between the seeds of examples: an example's list is its own, whatever else is asked for


def draw_candidates(dataset: Dataset, examples: Examples, count: int, seed: int) -> Tensor:
    """Returns `[n, count]` int64 item numbers: each target and `count - 1` items outside its history, shuffled.

    An example's list depends on the seed and its example id alone, so that figures of different teachers, runs and
    subsets of examples can be compared.

    Args:
        dataset: A prepared dataset.
        examples: Of one split.
        count: Candidates per example, the target included.
        seed: Of the draw.

    Raises:
        UserError: Some history leaves fewer items than `count`.
    """
    lists = torch.empty(len(examples), count, dtype=torch.long)
    for row, (example, user, end) in enumerate(
        zip(examples.example_id.tolist(), examples.user.tolist(), examples.end.tolist(), strict=True)
    ):
        draw, first = _generator_of(example, seed), int(dataset.offsets[user])
        taken = torch.zeros(dataset.num_items + 1, dtype=torch.bool)
        target = dataset.item_log[first + end].long()
        taken[dataset.item_log[first : first + end].long()] = True
        taken[0] = taken[target] = True
        free = (~taken).nonzero().squeeze(1)
        if len(free) < count - 1:
            raise UserError(
                f"teacher.generation.candidates={count} asks for more items than example {example} leaves: its history "
                f"holds all but {len(free)} of the catalogue's {dataset.num_items}."
            )
        others = free[torch.randperm(len(free), generator=draw)[: count - 1]]
        lists[row] = torch.cat([target.unsqueeze(0), others])[torch.randperm(count, generator=draw)]
    return lists


def shuffled(lists: Tensor, example_ids: Tensor, seed: int) -> Tensor:
    """Returns lists `[n, C]` of items, each in a random order that depends on the seed and its example id alone.

    Where a list was made best first, its order would tell a model that was trained on random ones something, and what
    it makes of that nobody knows.

    Args:
        lists: Item numbers.
        example_ids: `[n]` int64.
        seed: Of the draw.
    """
    order = [torch.randperm(lists.shape[1], generator=_generator_of(each, seed)) for each in example_ids.tolist()]
    return lists.gather(1, torch.stack(order).to(lists.device))


def _generator_of(example: int, seed: int) -> torch.Generator:
    return generator(seed * STRIDE + example)
