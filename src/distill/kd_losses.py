"""DLLM2Rec's importance-aware ranking distillation: weights, losses, totals, and thin classes that hold the settings.

Source: DLLM2Rec (Cui et al., RecSys 2024), section "Importance-aware Ranking Distillation", and its public code.
The teacher names K candidates per example. Candidate k pulls the student with

    w_k · (BCE_k + alpha · DROS_k),   w = normalised mix of position, confidence and consistency weights

Items are COLUMNS of the score matrix `[B, N]`, 0-based: column j is item j + 1. Weights carry no gradient.

Two presets. `paper` repeats the arithmetic of the reference code, oddities included. `corrected` is the formula that
is meant: they differ in the negative part of the BCE, in how weights meet DROS, and in DROS itself (`dros.py`).

Embedding distillation is no loss in DLLM2Rec: the teacher's item embedding, projected, is added to the student's input
embedding. It lives in `student/layers/embedding.py` (`ItemEmbedding.distil_from`), so there is no class for it here.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .dros import dros, dros_candidates, dros_candidates_paper, dros_paper


def position_weights(K: int, device: torch.device | None = None) -> Tensor:
    """Position-aware weights `w_k = exp(-k) / Σ_l exp(-l)`, k = 1..K: the teacher's first is worth most.

    Returns:
        `[K]` float32, sums to 1.
    """
    weights = torch.exp(-torch.arange(1, K + 1, dtype=torch.float32, device=device))
    return weights / weights.sum()


def confidence_weights(distance: Tensor) -> Tensor:
    """Confidence-aware weights `w_k = (exp(-d_k) + 1e-8) / Σ_l (exp(-d_l) + 1e-8)`.

    With `d = -log-probability` they are the probabilities, normalised over the candidates. Where every distance of a
    row is above about 18 the constant outweighs the exponentials and the weights level out.

    Args:
        distance: `[B, K]` float, larger = the teacher is less sure.

    Returns:
        `[B, K]`, rows sum to 1.
    """
    weights = torch.exp(-distance) + 1e-8
    return weights / weights.sum(1, keepdim=True)


def consistency_weights(candidates: Tensor, student_top: Tensor) -> Tensor:
    """Consistency-aware weights `w_k = 1[candidate k is in the student's own top-K] + 1e-8`, not normalised.

    Args:
        candidates: `[B, K]` int64 columns.
        student_top: `[B, K']` int64 columns.

    Returns:
        `[B, K]` float32.
    """
    return (candidates.unsqueeze(2) == student_top.unsqueeze(1)).any(2).float() + 1e-8


def mixed_weights(
    position: Tensor, confidence: Tensor, consistency: Tensor, gammas: tuple[float, float, float]
) -> Tensor:
    """`w ∝ gamma_p · position + gamma_c · confidence + gamma_o · consistency`, normalised over the K candidates.

    Args:
        position: `[K]`.
        confidence: `[B, K]`.
        consistency: `[B, K]`.
        gammas: `(gamma_p, gamma_c, gamma_o)`, non-negative, at least one positive.

    Returns:
        `[B, K]`, rows sum to 1.
    """
    weights = gammas[0] * position + gammas[1] * confidence + gammas[2] * consistency
    return weights / weights.sum(1, keepdim=True)


def ranking_bce(positive: Tensor, negative: Tensor) -> Tensor:
    """`-log sigmoid(s_pos) - log(1 - sigmoid(s_neg))`: candidates `[B, K]`, one negative `[B, 1]`; gives `[B, K]`."""
    return -F.logsigmoid(positive) - F.logsigmoid(-negative)


def ranking_bce_paper(positive: Tensor, negative: Tensor) -> Tensor:
    """`-log sigmoid(s_pos) - log sigmoid(1 - s_neg)`, the reference's arithmetic. Shapes as `ranking_bce`.

    The reference writes `sigmoid(1 - s)` where `1 - sigmoid(s)` is meant. Infinite where the sigmoid underflows
    (float32: below -103).
    """
    return -(torch.log(torch.sigmoid(positive)) + torch.log(torch.sigmoid(1 - negative)))


def weighted_total(weights: Tensor, losses: Tensor) -> Tensor:
    """`mean_b Σ_k w_bk · loss_bk` for two `[B, K]`, B >= 1: each loss meets its own weight."""
    return (weights * losses).sum(1).mean()


def weighted_total_paper(weights: Tensor, losses: Tensor) -> Tensor:
    """`Σ_k mean_b(w_bk) · mean_b(loss_bk)` for two `[B, K]`, B >= 1.

    This is the mean that the reference takes of `[B, 1] · [B]`, which broadcasts to `[B, B]`: every weight meets the
    DROS term of every example.
    """
    return (weights.mean(0) * losses.mean(0)).sum()


@dataclass(frozen=True)
class Preset:
    """The formulas that the two presets do not share.

    Attributes:
        ranking_bce: `(positive [B, K], negative [B, 1]) -> [B, K]`.
        dros: `(scores, target [B], propensity, beta) -> [B]`.
        dros_candidates: `(scores, candidates [B, K], propensity, beta) -> [B, K]`.
        dros_total: `(weights [B, K], losses [B, K]) -> scalar`.
        propensity_dtype: The reference computes DROS in float64; ours needs no more than float32.
    """

    ranking_bce: Callable[[Tensor, Tensor], Tensor]
    dros: Callable[[Tensor, Tensor, Tensor, float], Tensor]
    dros_candidates: Callable[[Tensor, Tensor, Tensor, float], Tensor]
    dros_total: Callable[[Tensor, Tensor], Tensor]
    propensity_dtype: torch.dtype


PRESETS = {
    "paper": Preset(ranking_bce_paper, dros_paper, dros_candidates_paper, weighted_total_paper, torch.float64),
    "corrected": Preset(ranking_bce, dros, dros_candidates, weighted_total, torch.float32),
}


class DROLoss(nn.Module):
    """The student's own robust term, `alpha · mean_b DROS_b` with the true target.

    Args:
        preset: Which DROS.
        propensity: `[N]` float64, see `propensity_scores`; kept as a buffer, not in checkpoints.
        alpha: Weight, >= 0; 0 switches the term off.
        beta: Robust radius, > 0.
    """

    propensity: Tensor

    def __init__(self, preset: Preset, propensity: Tensor, alpha: float, beta: float) -> None:
        super().__init__()
        self.register_buffer("propensity", propensity.to(preset.propensity_dtype), persistent=False)
        self.preset = preset
        self.alpha = alpha
        self.beta = beta

    def forward(self, scores: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Returns `{"dros": scalar, alpha applied}`, or `{}` for alpha = 0.

        Args:
            scores: `[B, N]` float, B >= 1.
            target: `[B]` int64 columns.
        """
        if self.alpha == 0:
            return {}
        return {"dros": self.alpha * self.robust(scores, target).mean()}

    def robust(self, scores: Tensor, target: Tensor) -> Tensor:
        """Returns DROS of each target, `[B]`; arguments as `forward`."""
        return self.preset.dros(scores, target, self.propensity, self.beta)

    def robust_with_candidates(self, scores: Tensor, target: Tensor, candidates: Tensor) -> tuple[Tensor, Tensor]:
        """Returns DROS of each target, `[B]`, and of each candidate as the target, `[B, K]`: the items are summed once.

        Args:
            scores: `[B, N]` float, B >= 1.
            target: `[B]` int64 columns.
            candidates: `[B, K]` int64 columns.
        """
        columns = torch.cat([target.unsqueeze(1), candidates], dim=1)
        both = self.preset.dros_candidates(scores, columns, self.propensity, self.beta)
        return both[:, 0], both[:, 1:]


class WeightedBCELoss(nn.Module):
    """`BCE_k + alpha · DROS_k` of every candidate, weighted by given weights.

    Args: as `DROLoss`; with alpha = 0 only the BCE remains.
    """

    propensity: Tensor

    def __init__(self, preset: Preset, propensity: Tensor, alpha: float, beta: float) -> None:
        super().__init__()
        self.register_buffer("propensity", propensity.to(preset.propensity_dtype), persistent=False)
        self.preset = preset
        self.alpha = alpha
        self.beta = beta

    def forward(
        self,
        scores: Tensor,
        candidates: Tensor,
        negatives: Tensor,
        weights: Tensor,
        robust: Tensor | None = None,
        chosen: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Returns the named terms, each a scalar with alpha applied; their sum is the loss.

        Args:
            scores: `[B, N]` float, B >= 1.
            candidates: `[B, K]` int64 columns, the teacher's best first.
            negatives: `[B]` int64 columns, one item per example that is neither target nor seen.
            weights: `[B, K]`.
            robust: `[B, K]`, DROS of each candidate, where it is there already (`DROLoss.robust_with_candidates`).
            chosen: `[B, K + 1]`, scores of the candidates and of the negative, where `scores` has no gradient: BCE
                alone needs none of the whole catalogue.
        """
        if chosen is None:
            chosen = scores.gather(1, torch.cat([candidates, negatives.unsqueeze(1)], dim=1))  # one gradient, not two
        bce = self.preset.ranking_bce(chosen[:, :-1], chosen[:, -1:])
        terms = {"ranking_bce": weighted_total(weights, bce)}
        if self.alpha != 0:
            if robust is None:
                robust = self.preset.dros_candidates(scores, candidates, self.propensity, self.beta)
            terms["ranking_dros"] = self.alpha * self.preset.dros_total(weights, robust)
        return terms


class RankingDistillationLoss(nn.Module):
    """Importance-aware ranking distillation, `lam · Σ_k w_k (BCE_k + alpha · DROS_k)`.

    Args:
        preset: Which formulas.
        propensity: `[N]` float64, see `propensity_scores`.
        lam: Weight of the whole, >= 0; 0 switches it off.
        alpha: Weight of DROS, >= 0.
        beta: Robust radius of DROS, > 0.
        gammas: Position, confidence, consistency; see `mixed_weights`.
    """

    def __init__(
        self,
        preset: Preset,
        propensity: Tensor,
        lam: float,
        alpha: float,
        beta: float,
        gammas: tuple[float, float, float],
    ) -> None:
        super().__init__()
        self.weighted_bce = WeightedBCELoss(preset, propensity, alpha, beta)
        self.lam = lam
        self.gammas = gammas

    def forward(
        self,
        scores: Tensor,
        candidates: Tensor,
        distance: Tensor,
        negatives: Tensor,
        robust: Tensor | None = None,
        importance: Tensor | None = None,
        chosen: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Returns the named terms, each a scalar with lam and alpha applied; their sum is the loss. `{}` for lam = 0.

        Args:
            scores: `[B, N]` float, B >= 1: only examples the teacher was asked about. `[B, 0]` where nothing needs them
                (`asks_for_all_scores`) and `chosen` is given.
            candidates: `[B, K]` int64 columns, the teacher's best first.
            distance: `[B, K]` float, larger = the teacher is less sure (-log-probability, or a distance).
            negatives: `[B]` int64 columns, one item per example that is neither target nor seen.
            robust, chosen: See `WeightedBCELoss`.
            importance: `[B]`, how much each example counts, 1 on average; None: all alike.
        """
        if self.lam == 0:
            return {}
        weights = self.weights(scores, candidates, distance)
        if importance is not None:
            weights = weights * importance.unsqueeze(1)
        terms = self.weighted_bce(scores, candidates, negatives, weights, robust, chosen)
        return {name: self.lam * term for name, term in terms.items()}

    @torch.no_grad()
    def weights(self, scores: Tensor, candidates: Tensor, distance: Tensor) -> Tensor:
        """Returns the mixed weights `[B, K]`; the student's own top-K is read from `scores`. Arguments as `forward`."""
        K = candidates.shape[1]
        consistency = torch.zeros_like(distance)
        if self.gammas[2] > 0:
            consistency = consistency_weights(candidates, scores.topk(K, dim=1).indices)
        return mixed_weights(
            position_weights(K, candidates.device), confidence_weights(distance), consistency, self.gammas
        )

    @property
    def asks_for_all_scores(self) -> bool:
        """Whether `forward` looks at more scores than those that it may be given as `chosen`."""
        return self.lam > 0 and (self.weighted_bce.alpha > 0 or self.gammas[2] > 0)
