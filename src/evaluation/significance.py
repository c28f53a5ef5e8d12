"""Compares models on the same interactions: means with intervals, differences to a baseline with intervals and tests,
all clustered by user (`statistics`).
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from ..core.errors import UserError
from ..core.metrics import METRICS
from .comparison import Comparison, Difference, Mean
from .settings import CompareSettings, cut_off_of
from .statistics import ROUNDING, bca_interval, bootstrap_means, by_user, holm, paired_t_test, randomisation_test


@dataclass(frozen=True)
class Model:
    """A model and how it ranked, once for each time it was trained.

    ranks: `[n]` int64 each; the same examples in the same order for every training and every model.
    trainings: What varied between several, e.g. "3 student seeds, one teacher"; None for one.
    """

    name: str
    ranks: Sequence[Tensor]
    trainings: str | None = None


def compare(
    models: Sequence[Model],
    user: Tensor,
    baseline: int,
    settings: CompareSettings,
    steps: Sequence[tuple[int, int]] = (),
    controls: Collection[int] = (),
) -> Comparison:
    """Compares models as `settings` say.

    Args:
        models: At least two.
        user: `[n]` int64, whose the examples are.
        baseline: The place of the baseline in `models`.
        settings: Key `compare`.
        steps, controls: See `compare_models`.

    Raises:
        UserError: There is no such baseline, or there are fewer than two users.
    """
    if baseline >= len(models):
        raise UserError(
            f"compare.baseline={baseline} is no place in compare.runs: the last of its {len(models)} models is "
            f"{len(models) - 1}."
        )
    if len(user.unique()) < 2:
        raise UserError("The models ranked one user, and a comparison needs two or more: use a larger split.")
    return compare_models(
        models,
        user,
        baseline=baseline,
        metrics=settings.metrics,
        confidence=settings.confidence,
        resamples=settings.resamples,
        seed=settings.seed,
        steps=steps,
        controls=controls,
    )


def compare_models(
    models: Sequence[Model],
    user: Tensor,
    *,
    baseline: int,
    metrics: Sequence[str],
    confidence: float,
    resamples: int,
    seed: int,
    steps: Sequence[tuple[int, int]] = (),
    controls: Collection[int] = (),
) -> Comparison:
    """Compares every model but the baseline and the controls with the baseline, by every metric.

    Args:
        models: At least two.
        user: `[n]` int64, whose the examples are: at least two users.
        baseline: The place of the baseline in `models`.
        metrics: Names like "NDCG@10".
        confidence: Of the intervals, e.g. 0.95.
        resamples: Of the bootstrap and of the randomisation test.
        seed: Of both.
        steps: Further pairs of places (before, after) whose differences are told, Holm's correction over them alone.
        controls: Places of models that explain a gain, in steps alone: they are no claims, and do not make the
            correction of the claims stricter.
    """

    owner = user.numpy()

    def interval(values: np.ndarray) -> tuple[float, float]:
        users = by_user(values, owner)
        return bca_interval(users, bootstrap_means(users, resamples, seed), confidence)

    values = {(metric, place): _values(model, metric) for metric in metrics for place, model in enumerate(models)}
    means = [
        Mean(models[place].name, metric, _mean(each), *interval(each.mean(0)), _sd(each), models[place].trainings)
        for (metric, place), each in values.items()
    ]

    def differences(pairs: Sequence[tuple[int, int]]) -> list[Difference]:
        gains = {
            (metric, before, after): values[metric, after].mean(0) - values[metric, before].mean(0)
            for metric in metrics
            for before, after in pairs
        }
        p = np.array([randomisation_test(by_user(gain, owner), resamples, seed) for gain in gains.values()])
        return [
            Difference(
                models[after].name,
                models[before].name,
                metric,
                _mean_gain(gain),
                *interval(gain),
                relative=_mean_gain(gain) / _mean(values[metric, before]) if values[metric, before].any() else None,
                p_t=paired_t_test(by_user(gain, owner)),
                p_randomisation=p_alone,
                p_holm=p_holm,
            )
            for ((metric, before, after), gain), p_alone, p_holm in zip(
                gains.items(), p.tolist(), holm(p).tolist() if gains else [], strict=True
            )
        ]

    to_baseline = [(baseline, place) for place in range(len(models)) if place not in (baseline, *controls)]
    return Comparison(
        len(user.unique()), len(user), confidence, resamples, means, differences(to_baseline), differences(steps)
    )


def _values(model: Model, name: str) -> np.ndarray:
    """`[trainings, n]` float64."""
    kind, k = cut_off_of(name)
    return np.stack([METRICS[kind](rank, k).numpy() for rank in model.ranks])


def _mean(values: np.ndarray) -> float:
    return values.mean().item()


def _mean_gain(gain: np.ndarray) -> float:
    """0 where it is rounding alone: trainings added up in another order are no other model."""
    mean = _mean(gain)
    return mean if abs(mean) >= ROUNDING else 0.0


def _sd(values: np.ndarray) -> float | None:
    return values.mean(1).std(ddof=1).item() if len(values) > 1 else None
