"""How alike two models' lists are, and which targets each finds alone."""

from dataclasses import dataclass

import torch
from torch import Tensor

from .stored import Model

K = 10


@dataclass(frozen=True)
class Overlap:
    """Two models' top-10 lists of the same examples, over all pairs of their trainings.

    shares: `[K + 1]` float64, share of examples whose lists have 0, 1, …, K items in common.
    both, first_alone, second_alone, neither: Shares of examples whose target stands in these lists.
    """

    first: str
    second: str
    shares: Tensor
    both: float
    first_alone: float
    second_alone: float
    neither: float

    @property
    def mean(self) -> float:
        """Items in common."""
        return float(self.shares @ torch.arange(len(self.shares)).double())


def overlap(first: Model, second: Model, k: int = K) -> Overlap:
    """Returns how alike the lists of two models with lists are."""
    shares = torch.zeros(k + 1).double()
    found = torch.zeros(2, 2).double()  # by whether first and second have the target
    pairs = [(one, two) for one in first.trainings for two in second.trainings]
    for one, two in pairs:
        assert one.lists is not None and two.lists is not None
        common = in_common(one.lists["top_items"][:, :k], two.lists["top_items"][:, :k])
        shares += torch.bincount(common, minlength=k + 1) / len(common)
        hits = 2 * (one.rank <= k).long() + (two.rank <= k).long()
        found += torch.bincount(hits, minlength=4).reshape(2, 2) / len(hits)
    (neither, second_alone), (first_alone, both) = (found / len(pairs)).tolist()
    return Overlap(first.name, second.name, shares / len(pairs), both, first_alone, second_alone, neither)


def in_common(first: Tensor, second: Tensor) -> Tensor:
    """Returns `[n]` int64: items that stand in both lists `[n, K]`; 0 behind the end of a list is no item."""
    same = (first.unsqueeze(2) == second.unsqueeze(1)) & (first > 0).unsqueeze(2)
    return same.any(2).sum(1)
