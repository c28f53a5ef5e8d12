"""Means with intervals of what a report shows beside the run's own comparison: slices of users, shares of hits."""

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from ..evaluation.slices import Slicing
from ..evaluation.statistics import bca_interval, bootstrap_means, by_user

CONFIDENCE, RESAMPLES, SEED = 0.95, 2000, 0


@dataclass(frozen=True)
class Estimate:
    """A mean over interactions with its interval; no interval where there is one user alone."""

    mean: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class SliceGain:
    """What a slice's interactions gain from one model to another; None where the slice has none."""

    name: str
    interactions: int
    before: float | None
    after: float | None
    gain: Estimate | None


def estimate(values: np.ndarray, user: np.ndarray, confidence: float = CONFIDENCE) -> Estimate:
    """Returns the mean of values `[n]` float64 with a BCa bootstrap interval over users `[n]` int64."""
    users = by_user(values, user)
    if len(users.sums) < 2:
        return Estimate(float(users.mean), None, None)
    return Estimate(float(users.mean), *bca_interval(users, bootstrap_means(users, RESAMPLES, SEED), confidence))


def gains_by_slice(before: np.ndarray, after: np.ndarray, user: np.ndarray, slicing: Slicing) -> list[SliceGain]:
    """Returns the gain of every slice.

    Args:
        before, after: `[n]` float64, a metric of each example.
        user: `[n]` int64.
        slicing: Of the same examples.
    """
    gains = []
    for place, name in enumerate(slicing.names):
        here = (slicing.slice_of == place).numpy()
        if not here.any():
            gains.append(SliceGain(name, 0, None, None, None))
            continue
        gain = estimate((after - before)[here], user[here])
        gains.append(SliceGain(name, int(here.sum()), before[here].mean(), after[here].mean(), gain))
    return gains


def of_group(values: Tensor, slicing: Slicing) -> list[tuple[str, int, Tensor | None]]:
    """Returns for each slice its name, number of examples and the means of `values [n, d]`, `[d]`, None without any."""
    told: list[tuple[str, int, Tensor | None]] = []
    for place, name in enumerate(slicing.names):
        here = values[slicing.slice_of == place]
        told.append((name, len(here), here.mean(0) if len(here) else None))
    return told
