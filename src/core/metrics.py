"""Full-ranking metrics on tensors: the rank of the target among the whole catalogue, and what follows from it."""

from collections.abc import Sequence

import torch
from torch import Tensor


def rank_of_target(scores: Tensor, target: Tensor, excluded: Tensor | None = None) -> Tensor:
    """Returns the rank of each target, from 1, by comparison alone (nothing is sorted).

    rank = 1 + |{j : s_j > s_t}| + |{j != t : s_j = s_t}|: ties count against the model.

    Args:
        scores: `[B, num_items]` float, column j belongs to item j + 1; higher is better.
        target: `[B]` int64 item numbers, 1..num_items.
        excluded: `[B, L]` int64 item numbers that do not compete (seen items), 0 = none. The target always competes.

    Returns:
        `[B]` int64, 1..num_items.

    Raises:
        ValueError: A score is NaN (a NaN beats nothing and nothing beats it: every rank would be 1).
    """
    if scores.isnan().any():
        raise ValueError("scores hold NaN")
    column = (target - 1).unsqueeze(1)
    own = scores.gather(1, column)
    competes = torch.ones_like(scores, dtype=torch.bool)
    if excluded is not None:
        competes = _without(competes, excluded)
    competes.scatter_(1, column, False)
    return 1 + ((scores >= own) & competes).sum(1)


def _without(competes: Tensor, excluded: Tensor) -> Tensor:
    rows, places = excluded.nonzero(as_tuple=True)
    competes[rows, excluded[rows, places] - 1] = False
    return competes


def top_k(scores: Tensor, k: int, excluded: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Returns the item numbers `[B, k]` int64 and scores `[B, k]` of the k best, best first; `excluded` as above.

    An excluded item can only appear, with score -inf, when fewer than k items are left.
    """
    if excluded is not None:
        scores = scores.masked_fill(~_without(torch.ones_like(scores, dtype=torch.bool), excluded), -torch.inf)
    best, columns = scores.topk(k, dim=1)
    return columns + 1, best


def hit_ratio(rank: Tensor, k: int) -> Tensor:
    """HR@K per example, `[B]` float64: 1 where the target stands among the first K."""
    return (rank <= k).double()


def recall(rank: Tensor, k: int) -> Tensor:
    """Recall@K per example, `[B]` float64: found over relevant items. With one target each it equals HR@K."""
    return hit_ratio(rank, k)


def ndcg(rank: Tensor, k: int) -> Tensor:
    """NDCG@K per example, `[B]` float64: 1 / log2(1 + rank) among the first K, else 0 (one target: ideal DCG 1)."""
    return hit_ratio(rank, k) / torch.log2(1 + rank.double())


def mean_metrics(rank: Tensor, ks: Sequence[int]) -> dict[str, float]:
    """Returns `{"HR@1": …, "NDCG@1": …, "Recall@1": …, …}`, each the mean over the examples of `rank` `[n]`."""
    kinds = {"HR": hit_ratio, "NDCG": ndcg, "Recall": recall}
    return {f"{name}@{k}": metric(rank, k).mean().item() for k in ks for name, metric in kinds.items()}
