"""An ensemble of the language model and the frozen student it was built over: its weight and its temperature."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...core.metrics import ndcg, rank_of_target
from ...data.dataset import ExampleBatch

# Temperatures that are looked at, the least sure first: all of `COARSE`, then 64 to an octave around the best of these.
# The chosen one is within 0.6 % of the best there is, unless that lies beyond the ends.
COARSE = [2.0 ** (step / 2) for step in range(24, -25, -1)]
FINER = [2.0 ** (step / 64) for step in range(32, -33, -1)]

KEPT_BYTES = 384 * 2**20  # of scores that are kept to be looked at again; those beyond are read again


class Calibration(NamedTuple):
    """How a trained teacher ranks, chosen on validation.

    student_weight: w, of the frozen student; 0: the language model alone.
    temperature: T, from 1/4096 to 4096; larger is less sure. Division by it turns no two scores round; scores that
        differ in their last bit may become equal.
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
    each says alone. Without the division they would be surer, the more weight there is. Of weight 0: `scores`, without
    what rounding would take from them.
    """
    if weight == 0:
        return scores
    of_student = student_scores.log_softmax(-1).mul_(weight)  # in place: each of these is as wide as the catalogue
    return scores.log_softmax(-1).add_(of_student).div_(1 + weight)


@dataclass(frozen=True)
class Calibrated:
    """What validation says of one weight. Cross-entropies are in nats an example, over the whole catalogue.

    ndcg: NDCG@10.
    behind: How much lower it is than that of the best weight, on the same examples.
    behind_error: The standard error of that difference.
    temperature: The one of the highest likelihood.
    summed: Cross-entropy of `log p_teacher + weight · log p_student`, weights not summing to 1.
    normalised: Of `ensemble_scores`, at temperature 1.
    calibrated: Of the same at `temperature`.
    at_end: Whether `temperature` is the lowest or the highest of all that were looked at: there may be better ones.
    """

    ndcg: float
    behind: float
    behind_error: float
    temperature: float
    summed: float
    normalised: float
    calibrated: float
    at_end: bool


@torch.no_grad()
def calibrate(
    model: EnsembleMember, batches: Iterable[ExampleBatch], weights: Sequence[float], device: torch.device
) -> dict[float, Calibrated]:
    """Returns what each weight is worth on `batches`; the language model reads a batch once, or twice where its scores
    are too many to be kept (`KEPT_BYTES`).

    The temperature is that of temperature scaling (Guo et al. 2017). All cross-entropies told are measured ones.

    Args:
        model: The teacher, on `device`.
        batches: Validation examples, at least one, gone through twice; all that is chosen by them is a weight and a
            temperature.
        weights: Of the student, at least one.
        device: Where the model is.
    """
    ranks: dict[float, list[Tensor]] = {weight: [] for weight in weights}
    coarse = {weight: CrossEntropies([*COARSE, 1 / (1 + weight)]) for weight in weights}
    kept: dict[int, tuple[Tensor, Tensor]] = {}
    for batch, own, student in _scored(model, batches, device, kept):
        for weight in weights:
            joined = ensemble_scores(own, student, weight)
            ranks[weight].append(rank_of_target(joined, batch.target, batch.seen))
            coarse[weight].add(joined, batch.target - 1)
    fine = {weight: CrossEntropies(_around(coarse[weight])) for weight in weights}
    for batch, own, student in _scored(model, batches, device, kept):
        for weight in weights:
            fine[weight].add(ensemble_scores(own, student, weight), batch.target - 1)
    ndcgs = {weight: ndcg(torch.cat(ranks[weight]), 10).double() for weight in weights}
    best, found = max(ndcgs.values(), key=torch.mean), {}
    for weight in weights:
        behind = best - ndcgs[weight]
        temperature = min(fine[weight].temperatures, key=fine[weight].mean)
        found[weight] = Calibrated(
            ndcg=float(ndcgs[weight].mean()),
            behind=float(behind.mean()),
            behind_error=float(behind.std(correction=0)) / len(behind) ** 0.5,
            temperature=temperature,
            summed=coarse[weight].mean(1 / (1 + weight)),
            normalised=coarse[weight].mean(1.0),
            calibrated=fine[weight].mean(temperature),
            at_end=temperature in (COARSE[0], COARSE[-1]),
        )
    return found


def best_weight(by_weight: Mapping[float, Calibrated]) -> float:
    """Returns the weight of the highest likelihood among those that rank as well as any: whose NDCG@10 is within one
    standard error of the best (the one-standard-error rule of Breiman et al. 1984, on paired differences).

    A few hundred examples do not tell such weights apart by NDCG@10: rounding would choose. Likelihood tells them apart
    far better, and is what a student that learns probabilities needs.
    """
    as_good = [weight for weight, found in by_weight.items() if found.behind <= found.behind_error]
    return min(as_good, key=lambda weight: by_weight[weight].calibrated)


def _scored(
    model: EnsembleMember, batches: Iterable[ExampleBatch], device: torch.device, kept: dict[int, tuple[Tensor, Tensor]]
) -> Iterator[tuple[ExampleBatch, Tensor, Tensor]]:
    """Yields each batch with `scores_of_both`: those in `kept`, by the batch's place, or else new ones, which it keeps
    on the CPU where they still fit.
    """
    for place, batch in enumerate(batches):
        batch = batch.to(device)
        if place in kept:
            own, student = (scores.to(device) for scores in kept[place])
        else:
            own, student = model.scores_of_both(batch)
            if sum(scores.nbytes for both in (*kept.values(), (own, student)) for scores in both) <= KEPT_BYTES:
                kept[place] = own.cpu(), student.cpu()
        yield batch, own, student


class CrossEntropies:
    """Mean cross-entropies in nats of scores divided by each of some temperatures, gathered batch by batch."""

    def __init__(self, temperatures: Iterable[float]) -> None:
        self.temperatures = list(temperatures)
        self.sums = dict.fromkeys(self.temperatures, 0.0)
        self.count = 0

    def add(self, scores: Tensor, column: Tensor) -> None:
        """Adds examples: scores `[B, N]` float32, answers `[B]` int64 columns."""
        for temperature in self.sums:
            losses = F.cross_entropy(scores / temperature, column, reduction="none")
            self.sums[temperature] += losses.sum(dtype=torch.float64).item()
        self.count += len(scores)

    def mean(self, temperature: float) -> float:
        """Of one of `temperatures`."""
        return self.sums[temperature] / self.count


def _around(coarse: CrossEntropies) -> list[float]:
    """Returns the finer temperatures around the best of `COARSE`.

    The cross-entropy is convex in 1/T: the best of all lies between the neighbours of the best of a few.
    """
    best = min(COARSE, key=coarse.mean)
    return [best * factor for factor in FINER if COARSE[-1] <= best * factor <= COARSE[0]]
