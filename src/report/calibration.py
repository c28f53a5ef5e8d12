"""Whether a model's probabilities mean what they say."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..data.dataset import Dataset
from .groups import SPLIT
from .stored import Model

BINS = 5
Z = 1.959964  # of 95 %


@dataclass(frozen=True)
class Reliability:
    """How sure a model was of the item it put first, and how often that was right, all trainings together.

    confidence, accuracy: `[bins]` float64, means over bins of equally many examples, from the least sure to the surest.
    low, high: `[bins]` float64, 95 % interval of the accuracy (Wilson 1927).
    sizes: `[bins]` int64.
    error: Expected calibration error: mean over bins, by their sizes, of |accuracy − confidence| (Guo, Pleiss, Sun &
        Weinberger 2017, with bins of equal size).
    cross_entropy: Mean −log p(target), in nats.
    """

    model: str
    confidence: Tensor
    accuracy: Tensor
    low: Tensor
    high: Tensor
    sizes: Tensor
    error: float
    cross_entropy: float


def reliability(model: Model, bins: int = BINS) -> Reliability:
    """Returns the reliability of a model with lists."""
    confidence = torch.cat([lists["top_probability"] for lists in model.lists]).double()
    right = torch.cat([each.rank == 1 for each in model.trainings]).double()
    likelihood = torch.cat([lists["log_likelihood"] for lists in model.lists]).double()
    parts = [part for part in confidence.argsort(stable=True).tensor_split(bins) if len(part)]
    means = torch.stack([torch.stack([confidence[part].mean(), right[part].mean()]) for part in parts])
    sizes = torch.tensor([len(part) for part in parts])
    error = float(((means[:, 1] - means[:, 0]).abs() * sizes).sum() / sizes.sum())
    low, high = wilson_interval(means[:, 1], sizes)
    return Reliability(model.name, means[:, 0], means[:, 1], low, high, sizes, error, -float(likelihood.mean()))


def wilson_interval(share: Tensor, n: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the ends `[bins]` of 95 % intervals, (p + z²/2n ± z √(p (1 − p)/n + z²/4n²)) / (1 + z²/n) of shares p."""
    middle, half = share + Z**2 / (2 * n), Z * (share * (1 - share) / n + Z**2 / (4 * n**2)).sqrt()
    return (middle - half).clamp(min=0) / (1 + Z**2 / n), (middle + half) / (1 + Z**2 / n)


def uniform_cross_entropy(num_items: int, dataset: Dataset | None = None) -> float:
    """Returns that of a model that knows nothing, in nats: the mean of log(items that compete).

    Args:
        num_items: Of the catalogue, all of which compete.
        dataset: Whose test histories do not; None: they do, too.
    """
    if dataset is None:
        return math.log(num_items)
    return float((num_items - seen_items(dataset)).double().log().mean())


def seen_items(dataset: Dataset, rows_at_once: int = 256) -> Tensor:
    """Returns `[n]` int64: different items in each test example's whole history, but the target, which competes."""
    counts, examples = [], dataset.examples[SPLIT]
    for rows in torch.arange(len(examples)).split(rows_at_once):
        batch = dataset.batch(examples.subset(rows), 1, with_seen=True)
        assert batch.seen is not None
        seen = batch.seen.masked_fill(batch.seen == batch.target.unsqueeze(1), 0).sort(1).values
        first = torch.cat([torch.ones_like(seen[:, :1], dtype=torch.bool), seen.diff(dim=1) > 0], dim=1)
        counts.append((first & (seen > 0)).sum(1))
    return torch.cat(counts)
