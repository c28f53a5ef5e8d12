"""What all users' recommendation lists are like together, whether or not they hit: coverage and popularity bias."""

from collections.abc import Sequence

import torch
from torch import Tensor


class RecommendationLists:
    """Takes the top-K lists of one chunk of users after another.

    Coverage@K: share of the catalogue that stands in at least one user's top K (catalogue coverage of Ge,
    Delgado-Battenfeld & Jannach 2010).
    ARP@K: average recommendation popularity, the mean over users of the mean training count of their top K (Yin et al.
    2012, as named by Abdollahpouri, Burke & Mobasher 2019). A list shorter than K is averaged over what it holds.

    Args:
        counts: `[num_items + 1]` int64, `Dataset.train_item_counts()`.
        ks: Cut-offs.
    """

    def __init__(self, counts: Tensor, ks: Sequence[int]) -> None:
        self.counts = counts.double()
        self.ks = ks
        self.num_users = 0
        self.recommended = torch.zeros(len(ks), len(counts), dtype=torch.bool)
        self.popularity = [0.0] * len(ks)  # summed over users

    def add(self, items: Tensor) -> None:
        """Takes the lists `[B, max K]` int64 of B more users: item numbers, best first, 0 behind the end of a list."""
        self.num_users += len(items)
        listed, counts = (items > 0).cumsum(1), self.counts[items].cumsum(1)
        for place, k in enumerate(self.ks):
            self.recommended[place, items[:, :k].flatten()] = True
            self.popularity[place] += (counts[:, k - 1] / listed[:, k - 1].clamp(min=1)).sum().item()

    def metrics(self) -> dict[str, float]:
        """Returns `{"Coverage@1": …, "ARP@1": …, …}` of the users so far."""
        coverage = self.recommended[:, 1:].double().mean(1).tolist()  # column 0 is what stands behind short lists
        figures: dict[str, float] = {}
        for k, covered, popularity in zip(self.ks, coverage, self.popularity, strict=True):
            figures |= {f"Coverage@{k}": covered, f"ARP@{k}": popularity / self.num_users}
        return figures
