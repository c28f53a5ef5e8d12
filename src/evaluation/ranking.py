"""Full ranking of held-out targets; the same for popularity, students and teachers."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from typing_extensions import Self

from ..core.errors import UserError
from ..core.metrics import (
    BYTES_PER_SCORE,
    Scores,
    competing_scores,
    excluded_rivals,
    in_tiles,
    largest,
    log_sum,
    mean_metrics,
    rank_of_target,
    users_within,
)
from ..core.progress import progress
from ..data.dataset import Dataset, ExampleBatch
from .beyond_accuracy import RecommendationLists
from .settings import CROSS_ENTROPY, MetricsSettings, check_cut_offs

LIST_LENGTH = 20  # items of each list that is kept, and more where a cut-off asks for them

Scorer = Callable[[ExampleBatch], Scores]


@dataclass(frozen=True)
class Lists:
    """What a model recommends to each user, and how sure it is by the softmax of its scores over competing items.

    top_items: `[n, K]` int32 item numbers, best first, 0 behind the end of a list; K is `LIST_LENGTH` or the largest
        cut-off, at most the catalogue.
    log_likelihood: `[n]` float32, log-probability of the target.
    top_probability: `[n]` float32, probability of the first item of the list.
    gates: `[n, E]` float32, weights of a teacher's experts; None for a model without.
    """

    top_items: Tensor
    log_likelihood: Tensor
    top_probability: Tensor
    gates: Tensor | None = None

    def tensors(self) -> dict[str, Tensor]:
        """Returns those that there are, by name, as a safetensors file takes them."""
        return {name: value.contiguous() for name, value in vars(self).items() if value is not None}


@dataclass(frozen=True)
class Evaluation:
    """Ranks of one model on one split, what follows from them, and the time it took to score and rank.

    example_id, user, target, rank: `[n]` int64 each; ranks from 1.
    metrics: By name, such as `NDCG@10`.
    """

    example_id: Tensor
    user: Tensor
    target: Tensor
    rank: Tensor
    metrics: dict[str, float]
    seconds: float
    lists: Lists

    @property
    def ms_per_1000_users(self) -> float:
        return 1000 * self.seconds / len(self.rank) * 1000

    def to_json(self) -> dict:
        """Returns metrics, speed and every example's rank, so that any figure can be computed again later."""
        return {
            "metrics": self.metrics,
            "ms_per_1000_users": self.ms_per_1000_users,
            "example_id": self.example_id.tolist(),
            "user": self.user.tolist(),
            "target": self.target.tolist(),
            "rank": self.rank.tolist(),
        }


@torch.inference_mode()
def evaluate(
    score: Scorer,
    dataset: Dataset,
    split: str,
    metrics: MetricsSettings,
    *,
    history_length: int,
    device: torch.device,
    title: str,
) -> Evaluation:
    """Ranks each target of `split` against the whole catalogue.

    Args:
        score: Takes an `ExampleBatch` and returns `[B, num_items]`, or what makes its rows where they are asked for.
        dataset: A prepared dataset.
        split: "val" or "test".
        metrics: What is measured, how many users at once, and whether items of the user's whole history are left out of
            the ranking and of the top-K lists (a target competes even if it was seen).
        history_length: The most items of history the model is shown.
        device: Where `score` computes.
        title: What the progress bar says.

    Raises:
        UserError: The split is empty, or some K is larger than the catalogue.
    """
    ks, filter_seen = metrics.ks, metrics.filter_seen
    check_cut_offs(f"metrics.ks={ks}", ks, dataset.num_items)
    examples = dataset.examples[split]
    if len(examples) == 0:
        raise UserError(
            f"Dataset {dataset.name} has no {split} examples to evaluate on: loosen the filters or the split."
        )
    counts = dataset.train_item_counts()
    lists, seconds = RecommendationLists(counts, ks), 0.0
    # One tensor for all users: small ones of each chunk that stay would lie between the large ones that go, whose room
    # could not be taken again.
    target, k = torch.empty_like(examples.user), min(max(LIST_LENGTH, *ks), dataset.num_items)
    every = _Ranked.room(len(examples), k)
    with progress(title, len(examples)) as advance:
        for rows in torch.arange(len(examples)).split(rows_at_once(metrics, dataset, filter_seen)):
            batch = dataset.batch(examples.subset(rows), history_length, with_seen=filter_seen)
            target[rows] = batch.target
            start = time.perf_counter()
            for kept, each in zip(every, _judge(score, batch.to(device), dataset.num_items, k), strict=True):
                kept[rows] = each.cpu()  # waits for a GPU
            seconds += time.perf_counter() - start
            lists.add(every.items[rows])
            advance(len(rows))
    told = Lists(every.items.int(), every.log_likelihood, every.top_probability)
    figures = mean_metrics(every.rank, ks) | lists.metrics() | {"ARP of targets": counts[target].double().mean().item()}
    figures[CROSS_ENTROPY] = -told.log_likelihood.double().mean().item()
    return Evaluation(examples.example_id, examples.user, target, every.rank, figures, seconds, told)


def rows_at_once(
    metrics: MetricsSettings, dataset: Dataset, with_seen: bool, bytes_per_score: int = BYTES_PER_SCORE
) -> int:
    """Returns how many users are ranked at once; `with_seen`: whether seen items are left out; `bytes_per_score`: what
    a user takes for each item of the catalogue.

    Raises:
        UserError: Not even one fits into `metrics.memory_mb`.
    """
    longest = int(dataset.offsets.diff().max()) if with_seen else 0
    return min(metrics.max_rows, users_within(metrics.memory_mb, dataset.num_items, longest, bytes_per_score))


class _Ranked(NamedTuple):
    """Some users: ranks `[B]`, lists `[B, k]` int64 each (0 where fewer than k items compete), log-probabilities of the
    targets and probabilities of the first items, `[B]` float32 each.
    """

    rank: Tensor
    items: Tensor
    log_likelihood: Tensor
    top_probability: Tensor

    @classmethod
    def room(cls, users: int, k: int) -> Self:
        """Returns tensors to be filled."""
        rank, items = torch.empty(users, dtype=torch.int64), torch.empty(users, k, dtype=torch.int64)
        return cls(rank, items, torch.empty(users), torch.empty(users))


def _judge(score: Scorer, batch: ExampleBatch, num_items: int, k: int) -> _Ranked:
    """Returns what is told of the users of `batch`, with lists of `k` items."""
    parts = in_tiles(score(batch), num_items, batch.target, batch.seen)
    return _Ranked(*map(torch.cat, zip(*(_rank(*part, k) for part in parts), strict=True)))


def _rank(scores: Tensor, target: Tensor, seen: Tensor | None, k: int) -> _Ranked:
    rank = rank_of_target(scores, target, excluded=seen)
    if seen is not None:
        scores = competing_scores(scores, excluded_rivals(seen, target))
    best, columns = largest(scores, k)
    items = (columns + 1).masked_fill(best == -torch.inf, 0)
    scores = scores.float()
    everyone, of_target = log_sum(scores), scores.gather(1, target.unsqueeze(1) - 1).squeeze(1)
    return _Ranked(rank, items, of_target - everyone, (best[:, 0].float() - everyone).exp())
