"""Ways to learn a teacher's list beside DLLM2Rec's, so that they can be compared on equal terms.

The teacher names K candidates per example, best first, each with a distance (-log-probability, or a distance; larger is
less sure). Items are COLUMNS of the score matrix `[B, N]`, 0-based. Every function returns one loss per example, `[B]`.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


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


def ranking_distillation(scores: Tensor, candidates: Tensor, distance: Tensor, temperature: float) -> Tensor:
    """`softmax_ranking` weighted by rank alone (`rank_weights`), `[B]`; the teacher's `distance` is not looked at."""
    return softmax_ranking(scores, candidates, rank_weights(candidates.shape[1], temperature, scores.device))


def soft_targets(scores: Tensor, candidates: Tensor, distance: Tensor, temperature: float) -> Tensor:
    """`softmax_ranking` weighted by the teacher's probabilities (`probability_weights`), `[B]`: Hinton et al. 2015 with
    the teacher's distribution cut at K.
    """
    return softmax_ranking(scores, candidates, probability_weights(distance, temperature))


ListLoss = Callable[[Tensor, Tensor, Tensor], Tensor]
LIST_LOSSES: dict[str, Callable[[Tensor, Tensor, Tensor, float], Tensor]] = {
    "kl": listwise_kl,
    "rd": ranking_distillation,
    "soft_targets": soft_targets,
}


def create_list_losses(settings: dict[str, Any]) -> dict[str, ListLoss]:
    """Returns the losses that are switched on, by name: `(scores, candidates, distance) -> [B]`, weight applied.

    Args:
        settings: `{weight, temperature}` of each of `LIST_LOSSES`, the keys of the same name in `conf/distill/*.yaml`.
    """
    return {
        name: partial(_weighted, loss, **settings[name])
        for name, loss in LIST_LOSSES.items()
        if settings[name]["weight"] > 0
    }


def _weighted(
    loss: Callable, scores: Tensor, candidates: Tensor, distance: Tensor, *, weight: float, temperature: float
) -> Tensor:
    return weight * loss(scores, candidates, distance, temperature)
