"""Ways to learn a teacher's list beside DLLM2Rec's, so that they can be compared on equal terms.

The teacher names K candidates per example, best first, each with a distance (-log-probability, or a distance; larger is
less sure). Items are COLUMNS of the score matrix `[B, N]`, 0-based. Every function returns one loss per example, `[B]`.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ..student.losses import SampledLoss, catalogue_cross_entropies
from ..student.models import SequentialRecommender
from ..training.softmax import Answers
from .settings import DistillSettings, ListLossSettings


def listwise_kl(scores: Tensor, candidates: Tensor, distance: Tensor, temperature: float) -> Tensor:
    """`T² KL(p ‖ q)` among the K candidates alone: `p = softmax(-distance / T)`, `q = softmax(scores / T)`, `[B]`.

    The order within the teacher's list is learned, and how much better each is; nothing moves the list up (Hinton et
    al. 2015, with T² to keep the gradient's size; over a list as in Cao et al. 2007, "ListNet").

    Args:
        scores: `[B, N]` float.
        candidates: `[B, K]` int64 columns.
        distance: `[B, K]` float.
        temperature: T, above 0.
    """
    teacher = (-distance / temperature).log_softmax(1)
    student = (scores.gather(1, candidates) / temperature).log_softmax(1)
    return temperature**2 * F.kl_div(student, teacher, reduction="none", log_target=True).sum(1)


def softmax_ranking(scores: Tensor, candidates: Tensor, weights: Tensor) -> Tensor:
    """`-Σ_k w_k log softmax(scores)_{candidate k}`: each candidate is an answer, the catalogue its rivals, `[B]`.

    Args:
        scores: `[B, N]` float.
        candidates: `[B, K]` int64 columns.
        weights: `[B, K]` or `[K]`.
    """
    return -(weights * (scores.gather(1, candidates) - scores.logsumexp(1, keepdim=True))).sum(1)


def rank_weights(K: int, temperature: float, device: torch.device | None = None) -> Tensor:
    """`w_k ∝ exp(-k / T)`, k = 1..K, `[K]` float32, sums to 1: the position weights of Ranking Distillation.

    Source: Tang & Wang 2018, equation 7 (λ there is T here).
    """
    return (-torch.arange(1, K + 1, dtype=torch.float32, device=device) / temperature).softmax(0)


def probability_weights(distance: Tensor, temperature: float) -> Tensor:
    """`w = softmax(-distance / T)` over the candidates, `[B, K]`: with T = 1 the teacher's probabilities, cut at K."""
    return (-distance / temperature).softmax(1)


@dataclass(frozen=True)
class ListLoss:
    """A way to learn the teacher's list, with its settings.

    name: A key of `conf/distill/*.yaml`: "kl" (`listwise_kl`), "rd" (Ranking Distillation: `softmax_ranking` with
        `rank_weights`) or "soft_targets" (Hinton et al. 2015, the distribution cut at K: with `probability_weights`).
    weight: Above 0.
    temperature: T, above 0.
    dtype: Of the softmax's matrix products (`full_softmax_loss`).
    rest: Of soft targets: the teacher's probabilities as they are (`exp(-distance)`), and what they leave to one as the
        share of all other items (`softmax.Answers`), in the place of a distribution over K items alone.
    sampler: Estimates the softmax from the negatives that it draws (`SampledLoss.cross_entropy`); None: all items are
        scored.
    """

    name: str
    weight: float
    temperature: float
    dtype: torch.dtype
    rest: bool = False
    sampler: SampledLoss | None = None

    def __call__(
        self,
        model: SequentialRecommender,
        hidden: Tensor,
        candidates: Tensor,
        distance: Tensor,
        importance: Tensor | None,
    ) -> Tensor:
        """Returns the mean over examples, a scalar with the weight applied.

        Args:
            model: Scores items from states.
            hidden: `[m, D]`, the student's states.
            candidates: `[m, K]` int64 columns.
            distance: `[m, K]`.
            importance: `[m]`, how much each example counts, one on average; None: all alike.
        """
        if self.name == "kl":
            scores = model.score(hidden, candidates + 1)  # no others have a part
            places = torch.arange(candidates.shape[1], device=scores.device).expand_as(candidates)
            losses = listwise_kl(scores, places, distance, self.temperature)
            return self.weight * (losses if importance is None else importance * losses).mean()
        answers = self.answers(candidates, distance, importance)
        if self.sampler is not None:
            return self.sampler.cross_entropy(model, hidden, answers)
        return catalogue_cross_entropies(model, hidden, {self.name: answers}, self.dtype)[self.name]

    @property
    def over_catalogue(self) -> bool:
        """Whether it is a softmax over the whole catalogue, with the candidates as answers."""
        return self.name != "kl"

    def answers(self, candidates: Tensor, distance: Tensor, importance: Tensor | None) -> Answers:
        """Returns the candidates as answers, with their weights and the loss's own among them."""
        each = self.weight if importance is None else self.weight * importance.unsqueeze(1)
        if self.name == "rd":
            weights = rank_weights(distance.shape[1], self.temperature, distance.device).expand_as(distance)
        elif self.rest:
            weights = (-distance).exp()
            return Answers(candidates, each * weights, each * (1 - weights.sum(1, keepdim=True)).clamp_min(0))
        else:
            weights = probability_weights(distance, self.temperature)
        return Answers(candidates, each * weights)


LIST_LOSSES = ("kl", "rd", "soft_targets")


def create_list_losses(
    settings: DistillSettings, dtype: torch.dtype, sampler: SampledLoss | None = None
) -> list[ListLoss]:
    """Returns the losses that are switched on; `dtype`, `sampler`: see `ListLoss`."""
    chosen: dict[str, ListLossSettings] = {name: getattr(settings, name) for name in LIST_LOSSES}
    rest = {"soft_targets": settings.soft_targets.rest}
    return [
        ListLoss(name, how.weight, how.temperature, dtype, rest.get(name, False), sampler)
        for name, how in chosen.items()
        if how.weight > 0
    ]
