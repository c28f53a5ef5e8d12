"""An ensemble of the language model and the frozen student it was built over: its weight and its temperature."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from scipy.interpolate import CubicHermiteSpline
from scipy.optimize import minimize_scalar
from torch import Tensor, nn

from ..core.metrics import ndcg, rank_of_target
from ..data.dataset import ExampleBatch

# Inverse temperatures at which the likelihood is measured; between them it is interpolated, to less than 1e-4 nats.
# The lowest one is all but uniform, and still ranks.
LOWEST = 2.0**-10
MEASURED = [0.0, *(2.0 ** (step / 4) for step in range(-24, 17))]


class Calibration(NamedTuple):
    """How a trained teacher ranks, chosen on validation.

    student_weight: w, of the frozen student; 0: the language model alone.
    temperature: T, above 0; larger is less sure. It changes no rank.
    """

    student_weight: float = 0.0
    temperature: float = 1.0


class EnsembleMember(nn.Module, ABC):
    """A teacher whose ranking may be joined with that of the frozen student it was built over.

    calibration: What `score` and `scores_in_batches` follow: the softmax of their scores is the teacher's distribution.
    """

    calibration = Calibration()

    @abstractmethod
    def scores_of_both(self, batch: ExampleBatch) -> tuple[Tensor, Tensor]:
        """Returns `[B, num_items]` float32 scores of the language model alone, and of the frozen student."""


def ensemble_scores(scores: Tensor, student_scores: Tensor, weight: float) -> Tensor:
    """`(log p_teacher + weight · log p_student) / (1 + weight)`: `[B, num_items]` scores of both, and of both.

    A logarithmic opinion pool (Genest & Zidek 1986): with weights that sum to 1 two experts who agree say together what
    each says alone. Without the division they would be surer, the more weight there is.
    """
    return (scores.log_softmax(-1) + weight * student_scores.log_softmax(-1)) / (1 + weight)


@dataclass(frozen=True)
class Calibrated:
    """What validation says of one weight. Cross-entropies are in nats an example, over the whole catalogue.

    ndcg: NDCG@10.
    temperature: The one of the highest likelihood.
    summed: Cross-entropy of `log p_teacher + weight · log p_student`, weights not summing to 1.
    normalised: Of `ensemble_scores`, at temperature 1.
    calibrated: Of the same at `temperature`.
    """

    ndcg: float
    temperature: float
    summed: float
    normalised: float
    calibrated: float


@torch.no_grad()
def calibrate(
    model: EnsembleMember, batches: Iterable[ExampleBatch], weights: Sequence[float], device: torch.device
) -> dict[float, Calibrated]:
    """Returns what each weight is worth on `batches`; the language model reads every batch once.

    Args:
        model: The teacher, on `device`.
        batches: Validation examples, at least one; all that is chosen by them is a weight and a temperature.
        weights: Of the student, at least one.
        device: Where the model is.
    """
    ranks: dict[float, list[Tensor]] = {weight: [] for weight in weights}
    curves = {weight: LikelihoodCurve(1 + weight) for weight in weights}
    for batch in batches:
        batch = batch.to(device)
        own, student = model.scores_of_both(batch)
        for weight in weights:
            joined = ensemble_scores(own, student, weight)
            ranks[weight].append(rank_of_target(joined if weight else own, batch.target, batch.seen))
            curves[weight].add(joined, batch.target - 1)
    return {
        weight: Calibrated(float(ndcg(torch.cat(ranks[weight]), 10).mean()), *curves[weight].found())
        for weight in weights
    }


class LikelihoodCurve:
    """`f(t) = mean of logsumexp(t s) - t s_target`, the cross-entropy of scores `s` at inverse temperature t.

    It is convex in t, so that a few values and slopes, gathered batch by batch, say where it is lowest (temperature
    scaling, Guo et al. 2017): no scores are kept.

    Args:
        also_at: An inverse temperature whose cross-entropy is asked for beside that of 1.
    """

    def __init__(self, also_at: float) -> None:
        self.at = [*MEASURED, also_at]
        self.sums = torch.zeros(2, len(self.at), dtype=torch.float64)
        self.count = 0

    def add(self, scores: Tensor, column: Tensor) -> None:
        """Adds examples: scores `[B, N]` float32, answers `[B]` int64 columns."""
        column = column.unsqueeze(1)
        for place, inverse in enumerate(self.at):
            log_p = (inverse * scores).log_softmax(1)
            slope = (log_p.exp() * scores).sum(1) - scores.gather(1, column).squeeze(1)
            self.sums[0, place] -= log_p.gather(1, column).sum(dtype=torch.float64).cpu()
            self.sums[1, place] += slope.sum(dtype=torch.float64).cpu()
        self.count += len(scores)

    def found(self) -> tuple[float, float, float, float]:
        """Returns the best temperature, and the cross-entropies at `also_at`, at 1 and at the best."""
        (*values, also), (*slopes, _) = (self.sums / self.count).tolist()
        at, value, slope = np.array(MEASURED), np.array(values), np.array(slopes)
        lowest = int(value.argmin())
        between = at[max(0, lowest - 1)], at[min(len(at) - 1, lowest + 1)]
        curve = CubicHermiteSpline(at, value, slope)
        best = minimize_scalar(curve, bounds=between, method="bounded", options={"xatol": 1e-6}).x
        if curve(best) > value[lowest]:
            best = at[lowest]
        best = max(float(best), LOWEST)
        return 1 / best, also, values[MEASURED.index(1.0)], float(curve(best))
