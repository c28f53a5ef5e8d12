"""Full-ranking metrics on tensors: the rank of the target among the whole catalogue, and what follows from it."""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import torch
from torch import Tensor

from .errors import UserError

# What ranking a chunk of users holds at once: a float32 score, one more float32 (the comparisons of `rank_of_target` or
# the copy of `competing_scores`) and its exponential; six int64 per seen item (its number, and where it stands);
# targets, ranks and lists, and the scores among which these are sought.
BYTES_PER_SCORE = 12
BYTES_PER_SEEN_ITEM = 48
BYTES_PER_USER = 8192
TILE = 2**20  # scores that are judged at once on a CPU: 4 MiB, which stay in the caches of two cores from pass to pass
LARGE_TILE = 2**24  # elsewhere
ROWS = 64  # users of a tile, at least: their scores are one product, which reads the whole item table
BLOCKS_FROM = 2**15  # columns: below, `topk` over all of them is as fast as over blocks


class Scores(Protocol):
    """Scores `[B, num_items]` of which rows can be asked for: a tensor, or what makes them when they are asked for."""

    def __getitem__(self, rows: slice, /) -> Tensor: ...


def tiles(num_rows: int, num_items: int, device: torch.device) -> Iterator[slice]:
    """Yields the rows of scores `[num_rows, num_items]` that are judged at once."""
    rows = max(ROWS, _tile(device) // num_items)
    for first in range(0, num_rows, rows):
        yield slice(first, first + rows)


def _blocks(scores: Tensor) -> Iterator[tuple[int, Tensor]]:
    """Yields the first column and the scores `[B, n]` of one block of columns after the other: all of them where the
    catalogue is small, else so many that they stay in the caches.
    """
    columns = max(1, _tile(scores.device) // max(1, len(scores)))
    for first in range(0, scores.shape[1], columns):
        yield first, scores[:, first : first + columns]


def _tile(device: torch.device) -> int:
    return TILE if device.type == "cpu" else LARGE_TILE


def in_tiles(
    scores: Scores, num_items: int, target: Tensor, excluded: Tensor | None
) -> Iterator[tuple[Tensor, Tensor, Tensor | None]]:
    """Yields scores, targets and excluded items of one tile after the other; arguments as in `rank_of_target`."""
    for rows in tiles(len(target), num_items, target.device):
        yield scores[rows], target[rows], None if excluded is None else excluded[rows]


def rank_of_target(scores: Tensor, target: Tensor, excluded: Tensor | None = None) -> Tensor:
    """Returns the rank of each target, from 1, by comparison alone (nothing is sorted).

    rank = 1 + |{j : s_j > s_t}| + |{j != t : s_j = s_t}|, over the items that compete: ties count against the model.
    The target always competes, so its rank is 1 where everything else is excluded.

    Args:
        scores: `[B, num_items]` float, column j belongs to item j + 1; higher is better.
        target: `[B]` int64 item numbers, 1..num_items.
        excluded: `[B, L]` int64 item numbers that do not compete (seen items), 0 = none; they may repeat.

    Returns:
        `[B]` int64, 1..num_items.

    Raises:
        ValueError: A score is NaN (a NaN beats nothing and nothing beats it: every rank would be 1) or infinitely
            large, or `excluded` holds what is no item.
    """
    if excluded is not None and (excluded > scores.shape[1]).any():
        raise ValueError(f"excluded items above the number of items, {scores.shape[1]}")
    own = scores.gather(1, (target - 1).unsqueeze(1))
    if excluded is not None:
        excluded = excluded_rivals(excluded, target)
    rank, finite = torch.zeros_like(target), torch.ones_like(target, dtype=torch.bool)
    for first, block in _blocks(scores):
        finite &= block.amax(1) < torch.inf  # as no NaN is
        # Written as float32, because adding up booleans first copies them to integers: twice the time and the memory.
        width = block.shape[1]
        not_below = torch.empty(len(block), width + 1, dtype=torch.float32, device=scores.device)
        torch.ge(block, own, out=not_below[:, :width])
        if excluded is not None:
            column = excluded - 1 - first
            not_below.scatter_(1, column.where((column >= 0) & (column < width), width), 0.0)  # others: the last column
        rank += not_below[:, :width].sum(1).long()
    if not finite.all():
        raise ValueError("scores hold NaN or infinity")
    return rank


def top_k(scores: Tensor, k: int, excluded: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Returns the item numbers `[B, k]` int64 and scores `[B, k]` of the k best, best first; `excluded` as above.

    An excluded item can only appear, with score -inf, when fewer than k items are left. Which of several items with
    the same score come first is left to PyTorch.
    """
    best, columns = largest(scores if excluded is None else competing_scores(scores, excluded), k)
    return columns + 1, best


def largest(scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Returns the k largest of each row of scores `[B, N]`, largest first, and their columns, as `Tensor.topk` does.

    The columns are parted into blocks; whatever is among the k largest stands in one of the k blocks with the largest
    maxima, so that only these are sorted: two searches among about 2 √(N k) numbers in the place of one among N.
    """
    N = scores.shape[1]
    size = max(1, math.isqrt(N // k))  # columns of a block
    blocks = N // size  # the rest, fewer than a block, always takes part
    if N < BLOCKS_FROM or size == 1 or blocks <= k:
        return scores.topk(k, dim=1)
    whole = scores[:, : blocks * size].unflatten(1, (size, blocks))  # a block's columns stand `blocks` apart
    chosen = whole.amax(1).topk(k, dim=1, sorted=False).indices  # [B, k]
    within = whole.gather(2, chosen.unsqueeze(1).expand(-1, size, -1)).flatten(1)  # [B, size x k]
    best, place = torch.cat([within, scores[:, blocks * size :]], dim=1).topk(k, dim=1)
    step = place // k  # which of a block's columns
    columns = chosen.gather(1, place % k) + blocks * step
    return best, columns.where(step < size, place + (blocks - k) * size)


def log_likelihood_of_target(scores: Tensor, target: Tensor, excluded: Tensor | None = None) -> Tensor:
    """Returns the log-probability of each target under the softmax over the items that compete, `[B]` float32; its
    negative mean is the cross-entropy, in nats. Arguments as in `rank_of_target`: the target always competes.
    """
    scores = scores.float()
    own = scores.gather(1, (target - 1).unsqueeze(1)).squeeze(1)
    if excluded is not None:
        scores = competing_scores(scores, excluded_rivals(excluded, target))
    return own - log_sum(scores)


def log_sum(scores: Tensor) -> Tensor:
    """Returns `log Σ_j exp(s_j)` of each row of scores `[B, num_items]`, `[B]`."""
    return torch.stack([block.logsumexp(1) for _, block in _blocks(scores)]).logsumexp(0)


def excluded_rivals(excluded: Tensor, target: Tensor) -> Tensor:
    """Returns `excluded` without each row's target, which always competes; arguments as in `rank_of_target`."""
    return excluded.masked_fill(excluded == target.unsqueeze(1), 0)


def competing_scores(scores: Tensor, excluded: Tensor) -> Tensor:
    """Returns a copy of scores `[B, num_items]` in which items that do not compete have -inf; `excluded` as above."""
    rows, places = excluded.nonzero(as_tuple=True)
    scores = scores.clone()
    scores[rows, excluded[rows, places] - 1] = -torch.inf
    return scores


def hit_ratio(rank: Tensor, k: int) -> Tensor:
    """HR@K per example, `[B]` float64: 1 where the target stands among the first K."""
    return (rank <= k).double()


def recall(rank: Tensor, k: int) -> Tensor:
    """Recall@K per example, `[B]` float64: found over relevant items. With one target each it equals HR@K."""
    return hit_ratio(rank, k)


def ndcg(rank: Tensor, k: int) -> Tensor:
    """NDCG@K per example, `[B]` float64: 1 / log2(1 + rank) among the first K, else 0 (one target: ideal DCG 1)."""
    return hit_ratio(rank, k) / torch.log2(1 + rank.double())


def mrr(rank: Tensor, k: int) -> Tensor:
    """MRR@K per example, `[B]` float64: 1 / rank among the first K, else 0."""
    return hit_ratio(rank, k) / rank


METRICS: dict[str, Callable[[Tensor, int], Tensor]] = {"HR": hit_ratio, "NDCG": ndcg, "Recall": recall, "MRR": mrr}


def mean_metrics(rank: Tensor, ks: Sequence[int]) -> dict[str, float]:
    """Returns `{"HR@1": …, "NDCG@1": …, "Recall@1": …, "MRR@1": …, …}`, each the mean over `rank` `[n]`."""
    return {f"{name}@{k}": metric(rank, k).mean().item() for k in ks for name, metric in METRICS.items()}


def users_within(memory_mb: float, num_items: int, num_seen: int, bytes_per_score: int = BYTES_PER_SCORE) -> int:
    """Returns how many users can be ranked at once.

    Args:
        memory_mb: MiB that their scores, masks and seen items may take.
        num_items: Size of the catalogue.
        num_seen: The most seen items of a user, 0 where they compete.
        bytes_per_score: What a user takes for each item of the catalogue.

    Raises:
        UserError: Not even one user fits.
    """
    per_user = bytes_per_score * num_items + BYTES_PER_SEEN_ITEM * num_seen + BYTES_PER_USER
    users = int(memory_mb * 2**20 / per_user)
    if users == 0:
        raise UserError(
            f"metrics.memory_mb={memory_mb} is too little to rank one user among {num_items} items: "
            f"set it to {math.ceil(per_user / 2**20)} or more."
        )
    return users
