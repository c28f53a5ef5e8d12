"""Full ranking of held-out targets; the same for popularity, students and teachers."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ..core.errors import UserError
from ..core.metrics import mean_metrics, rank_of_target, top_k, users_within
from ..core.progress import progress
from ..data.dataset import Dataset, ExampleBatch
from .beyond_accuracy import RecommendationLists
from .settings import MetricsSettings, check_cut_offs

Scorer = Callable[[ExampleBatch], Tensor]


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
        score: Takes an `ExampleBatch` and returns `[B, num_items]`.
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
    lists = RecommendationLists(counts, ks)
    targets, ranks, seconds = [], [], 0.0
    with progress(title, len(examples)) as advance:
        for rows in torch.arange(len(examples)).split(rows_at_once(metrics, dataset, filter_seen)):
            batch = dataset.batch(examples.subset(rows), history_length, with_seen=filter_seen)
            targets.append(batch.target)
            start = time.perf_counter()
            rank, items = _rank(score, batch.to(device), max(ks))
            ranks.append(rank.cpu())  # waits for the GPU
            seconds += time.perf_counter() - start
            lists.add(items.cpu())
            advance(len(rows))
    target, rank = torch.cat(targets), torch.cat(ranks)
    figures = mean_metrics(rank, ks) | lists.metrics() | {"ARP of targets": counts[target].double().mean().item()}
    return Evaluation(examples.example_id, examples.user, target, rank, figures, seconds)


def rows_at_once(metrics: MetricsSettings, dataset: Dataset, with_seen: bool) -> int:
    """Returns how many users are ranked at once; `with_seen`: whether seen items are left out.

    Raises:
        UserError: Not even one fits into `metrics.memory_mb`.
    """
    longest = int(dataset.offsets.diff().max()) if with_seen else 0
    return min(metrics.max_rows, users_within(metrics.memory_mb, dataset.num_items, longest))


def _rank(score: Scorer, batch: ExampleBatch, k: int) -> tuple[Tensor, Tensor]:
    """Returns the targets' ranks `[B]` and the top-K lists `[B, k]`, 0 where fewer than k items compete."""
    scores = score(batch)
    rank = rank_of_target(scores, batch.target, excluded=batch.seen)
    excluded = None if batch.seen is None else batch.seen.masked_fill(batch.seen == batch.target.unsqueeze(1), 0)
    items, best = top_k(scores, k, excluded)
    return rank, items.masked_fill(best == -torch.inf, 0)
