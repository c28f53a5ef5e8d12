"""Where a model is good and where it is not: metrics by how popular the target is and how long the history is."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..core.metrics import hit_ratio, ndcg
from ..data.dataset import Dataset
from .model_tables import Figures

POPULARITY_GROUPS = ("head", "mid", "tail", "cold")
HEAD, MID, TAIL, COLD = range(4)


@dataclass(frozen=True)
class Slicing:
    """A way to part the examples of a split.

    names: Of the slices, in the order they are told.
    slice_of: `[n]` int64, the slice of each example, an index into `names`.
    """

    names: tuple[str, ...]
    slice_of: Tensor


def slicings(dataset: Dataset, split: str, history_buckets: Sequence[int]) -> dict[str, Slicing]:
    """Returns the slicings of a split, by target popularity and by the length of the whole history."""
    examples = dataset.examples[split]
    target = dataset.item_log[dataset.offsets[examples.user] + examples.end].long()
    groups = popularity_groups(dataset.train_item_counts())
    buckets = (examples.end.unsqueeze(1) > torch.tensor(history_buckets)).sum(1)
    return {
        "target popularity": Slicing(POPULARITY_GROUPS, groups[target]),
        "history length": Slicing(bucket_names(history_buckets), buckets),
    }


def popularity_groups(counts: Tensor) -> Tensor:
    """Returns `[num_items + 1]` int64, the place of each item's group in `POPULARITY_GROUPS`; -1 for padding.

    Head: the most popular items that make up 20 % of the training interactions; tail: the least popular ones that do;
    mid: the others (Abdollahpouri, Mansoury, Burke, Mobasher & Malthouse 2021); cold: items without any. Items of the
    same count stay together: an item belongs to the head if those more popular hold less than 20 %, to the tail if
    those at most as popular hold no more than 20 %.

    Args:
        counts: `[num_items + 1]` int64, `Dataset.train_item_counts()`.
    """
    count, place, num_items = counts[1:].unique(return_inverse=True, return_counts=True)  # from rare to popular
    up_to = (count * num_items).cumsum(0)  # interactions of items at most as popular
    total = up_to[-1]
    group = torch.full_like(count, MID)
    group[5 * (total - up_to) < total] = HEAD
    group[5 * up_to <= total] = TAIL
    group[count == 0] = COLD
    return torch.cat([torch.tensor([-1]), group[place]])


def bucket_names(longest: Sequence[int]) -> tuple[str, ...]:
    """Returns the names of the slices with these longest histories, and of the rest: 5, 10 gives 1-5, 6-10, 11+."""
    shortest = [1, *(length + 1 for length in longest)]
    closed = (f"{low}-{high}" if low < high else f"{low}" for low, high in zip(shortest, longest, strict=False))
    return (*closed, f"{shortest[-1]}+")


def slice_metrics(rank: Tensor, slicing: Slicing, k: int) -> dict[str, Figures]:
    """Returns `{slice: {"n": …, "HR@K": …, "NDCG@K": …}}`, means over the slice's n examples, None where it has none.

    Args:
        rank: `[n]` int64, from 1.
        slicing: Of the same examples.
        k: K.
    """
    figures = {}
    for place, name in enumerate(slicing.names):
        here = rank[slicing.slice_of == place]
        means = {f"HR@{k}": hit_ratio(here, k), f"NDCG@{k}": ndcg(here, k)}
        figures[name] = {"n": len(here), **{kind: v.mean().item() if len(v) else None for kind, v in means.items()}}
    return figures
