"""Propensity scores and DROS, the distributionally robust term that DLLM2Rec adds to every target.

Source: DROS (Yang et al., SIGIR 2023), as DLLM2Rec (Cui et al., RecSys 2024) uses it. With scores `s`, propensities `p`
and a target `t`, the term is

    log( Σ_{j≠t} exp(p_j s_j² / beta) + exp(p_t (s_t - 1)² / beta) )

Each formula stands here twice. The plain names compute it exactly. The `_paper` names compute it as the reference code
does: it sums over all j and then subtracts j = t, so that a dominant target cancels. Items are COLUMNS of the score
matrix, 0-based: column j is item j + 1.
"""

from typing import Any

import torch
from torch import Tensor

TILE_ROWS = 8  # rows worked on at once on a CPU: of 20,000 items in float64 they stay in a core's cache


def propensity_scores(counts: Tensor, power: float) -> Tensor:
    """`p_j = ((count_j + 1) / Σ_i (count_i + 1)) ** power`.

    Args:
        counts: `[N]` int64, how often each column was a training target.
        power: 0 makes all items equal; the paper uses 0.05.

    Returns:
        `[N]` float64 in (0, 1].
    """
    smoothed = counts.double() + 1
    return (smoothed / smoothed.sum()) ** power


class PropensityScoreCalculator:
    """Counts training targets and turns the counts into propensities.

    Args:
        num_items: N.
        power: See `propensity_scores`.
    """

    def __init__(self, num_items: int, power: float) -> None:
        self.num_items = num_items
        self.power = power

    def __call__(self, targets: Tensor) -> Tensor:
        """Returns `[N]` float64 for `targets [n] int64`, the target column of every training example."""
        return propensity_scores(torch.bincount(targets, minlength=self.num_items), self.power)


def dros(scores: Tensor, target: Tensor, propensity: Tensor, beta: float) -> Tensor:
    """`log( Σ_{j≠t} exp(p_j s_j² / beta) + exp(p_t (s_t - 1)² / beta) )`, exact at any size of the scores.

    Args:
        scores: `[B, N]` float.
        target: `[B]` int64 columns.
        propensity: `[N]` float.
        beta: Robust radius, > 0.

    Returns:
        `[B]`, in the wider of the two float types.
    """
    target = target.unsqueeze(1)
    own = _target_energy(scores, target, propensity, beta)
    return torch.logaddexp(log_energy_sum(scores, propensity, beta, without=target), own).squeeze(1)


def dros_candidates(scores: Tensor, candidates: Tensor, propensity: Tensor, beta: float) -> Tensor:
    """`dros` with each of K candidates as the target, all at once.

    `Σ_{j≠t}` falls into the items that are no candidate, summed once per example, and the other candidates,
    `[B, K, K]` terms. Nothing is subtracted, nothing of size N is made K times, and a candidate listed twice counts
    once.

    Args:
        scores: `[B, N]` float.
        candidates: `[B, K]` int64 columns.
        propensity: `[N]` float.
        beta: Robust radius, > 0.

    Returns:
        `[B, K]`, in the wider of the two float types.
    """
    K = candidates.shape[1]
    rest = log_energy_sum(scores, propensity, beta, without=candidates)  # [B, 1]
    same = candidates.unsqueeze(2) == candidates.unsqueeze(1)  # [B, K, K]: target k and candidate l are one item
    repeated = same.tril(-1).any(2).unsqueeze(1)  # [B, 1, K]: candidate l stands earlier in the row already
    energy = propensity[candidates] * scores.gather(1, candidates) ** 2 / beta  # [B, K]
    others = energy.unsqueeze(1).masked_fill(same | repeated, -torch.inf)  # [B, K, K]
    own = _target_energy(scores, candidates, propensity, beta)  # [B, K]
    return torch.cat([others, rest.unsqueeze(1).expand(-1, K, 1), own.unsqueeze(2)], dim=2).logsumexp(2)


def dros_paper(scores: Tensor, target: Tensor, propensity: Tensor, beta: float) -> Tensor:
    """`log( Σ_j exp(p_j s_j² / beta) - exp(p_t s_t² / beta) + exp(p_t (s_t - 1)² / beta) + 1e-24 )`.

    The reference's arithmetic; shapes as `dros`. It overflows where `exp(p s² / beta)` passes the float's range and
    loses digits where the target dominates.
    """
    return dros_candidates_paper(scores, target.unsqueeze(1), propensity, beta).squeeze(1)


def dros_candidates_paper(scores: Tensor, candidates: Tensor, propensity: Tensor, beta: float) -> Tensor:
    """`dros_paper` with each of K candidates as the target; the sum over all j is computed once. Shapes as above."""
    everything = _EnergySum.apply(scores, propensity, beta)  # [B, 1]
    chosen = scores.gather(1, candidates)
    subtracted = torch.exp(chosen * chosen * propensity[candidates] / beta)  # [B, K]
    shifted = chosen - 1
    added = torch.exp(shifted * shifted * propensity[candidates] / beta)  # [B, K]
    return torch.log(everything - subtracted + added + 1e-24)


def log_energy_sum(scores: Tensor, propensity: Tensor, beta: float, without: Tensor | None = None) -> Tensor:
    """`log Σ_j exp(p_j s_j² / beta)` over the items that are not in `without`, and its gradient, in one pass.

    Autograd would keep five matrices of the size of `scores`; this keeps one. As in the reference scores are squared in
    their own type, and all that follows is in the wider of the two types.

    Args:
        scores: `[B, N]` float.
        propensity: `[N]` float.
        beta: Robust radius, > 0.
        without: `[B, n]` int64 columns, repeats allowed.

    Returns:
        `[B, 1]`, in the wider of the two float types.
    """
    return _LogEnergySum.apply(scores, propensity / beta, without)


def _rows_at_once(scores: Tensor) -> int:
    return TILE_ROWS if scores.device.type == "cpu" else max(1, len(scores))


class _EnergySum(torch.autograd.Function):
    """`Σ_j exp(p_j s_j² / beta)`, `[B, 1]`, summed as the reference does, and its gradient in one pass.

    Each step works within one float type: mixing them in one operation costs more than a conversion.
    """

    @staticmethod
    def forward(ctx: Any, scores: Tensor, propensity: Tensor, beta: float) -> Tensor:
        factor = (2 * propensity / beta).to(scores.dtype)
        slope, totals = torch.empty_like(scores), []
        tile = _rows_at_once(scores)
        for rows, out in zip(scores.split(tile), slope.split(tile), strict=True):
            exp = (rows * rows).to(propensity.dtype).mul_(propensity).div_(beta).exp_()
            totals.append(exp.sum(1, keepdim=True))
            torch.mul(exp.div_(totals[-1]).to(scores.dtype).mul_(rows), factor, out=out)
        total = torch.cat(totals)
        ctx.save_for_backward(slope, total)
        return total

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        slope, total = ctx.saved_tensors  # of log total: within range where that of total is not
        return slope * (grad * total).to(slope.dtype), None, None


class _LogEnergySum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, scores: Tensor, factor: Tensor, without: Tensor | None) -> Tensor:
        wide = torch.promote_types(scores.dtype, factor.dtype)
        slope, totals, logs = torch.empty_like(scores, dtype=wide), [], []
        tile = _rows_at_once(scores)
        for start in range(0, len(scores), tile):
            rows = scores[start : start + tile]
            energy = (rows * rows) * factor
            if without is not None:
                energy.scatter_(1, without[start : start + tile], -torch.inf)
            largest = energy.amax(1, keepdim=True).clamp(min=torch.finfo(wide).min)  # finite where nothing is left
            exp = energy.sub_(largest).exp_()
            totals.append(exp.sum(1, keepdim=True, dtype=torch.float64))
            logs.append(totals[-1].log() + largest)
            torch.mul(exp.mul_(rows), 2 * factor, out=slope[start : start + tile])
        ctx.save_for_backward(slope, torch.cat(totals))
        ctx.dtype = scores.dtype
        return torch.cat(logs).to(wide)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        slope, total = ctx.saved_tensors
        share = (grad / total.clamp(min=torch.finfo(torch.float64).tiny)).to(slope.dtype)
        return (slope * share).to(ctx.dtype), None, None


def _target_energy(scores: Tensor, columns: Tensor, propensity: Tensor, beta: float) -> Tensor:
    """Returns `p_t (s_t - 1)² / beta` for `columns [B, K]` as `[B, K]`."""
    shifted = scores.gather(1, columns) - 1
    return propensity[columns] * shifted * shifted / beta
