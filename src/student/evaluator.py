"""Full ranking of held-out targets; the same for popularity, students and teachers."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..core.dataset import Dataset, ExampleBatch
from ..core.errors import UserError
from ..core.metrics import mean_metrics, rank_of_target
from ..core.progress import progress

Scorer = Callable[[ExampleBatch], Tensor]


@dataclass(frozen=True)
class Evaluation:
    """Ranks of one model on one split, and the time it took to score and rank them."""

    example_id: Tensor  # [n] int64
    rank: Tensor  # [n] int64, from 1
    seconds: float

    def metrics(self, ks: Sequence[int]) -> dict[str, float]:
        return mean_metrics(self.rank, ks)

    @property
    def ms_per_1000_users(self) -> float:
        return 1000 * self.seconds / len(self.rank) * 1000

    def to_json(self, ks: Sequence[int]) -> dict:
        """Returns metrics, speed and every example's rank, so that any comparison can be tested later."""
        return {
            "metrics": self.metrics(ks),
            "ms_per_1000_users": self.ms_per_1000_users,
            "example_id": self.example_id.tolist(),
            "rank": self.rank.tolist(),
        }


@torch.inference_mode()
def evaluate(
    score: Scorer,
    dataset: Dataset,
    split: str,
    *,
    history_length: int,
    batch_size: int,
    filter_seen: bool,
    device: torch.device,
    title: str,
) -> Evaluation:
    """Ranks each target of `split` against the whole catalogue.

    Args:
        score: Takes an `ExampleBatch` and returns `[B, num_items]`.
        dataset: A prepared dataset.
        split: "val" or "test".
        history_length: The most items of history the model is shown.
        batch_size: Examples scored at once; bounds memory at batch_size x num_items scores.
        device: Where `score` computes.
        filter_seen: Whether items of the user's whole history are left out of the ranking.
        title: What the progress bar says.

    Raises:
        UserError: The split is empty.
    """
    examples = dataset.examples[split]
    if len(examples) == 0:
        raise UserError(
            f"Dataset {dataset.name} has no {split} examples to evaluate on: loosen the filters or the split."
        )
    ranks, seconds = [], 0.0
    with progress(title, len(examples)) as advance:
        for rows in torch.arange(len(examples)).split(batch_size):
            part = examples.subset(rows)
            batch = dataset.batch(part, history_length, with_seen=filter_seen)
            start = time.perf_counter()
            batch = batch.to(device)
            ranks.append(
                rank_of_target(score(batch), batch.target, excluded=batch.seen).cpu()
            )  # .cpu() waits for the GPU
            seconds += time.perf_counter() - start
            advance(len(rows))
    return Evaluation(examples.example_id, torch.cat(ranks), seconds)
