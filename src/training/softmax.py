"""Cross-entropy over the whole catalogue without ever storing the logits of all positions."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..core.precision import float32_scores

# Logits held at once. A tile of this many stays in the cores' caches: on 2 cores four to five times as fast as a
# matrix of all logits (benchmarks/README.md), and the memory does not grow with positions x catalogue.
TILE = 1 << 22


def full_softmax_loss(
    hidden: Tensor, table: Tensor, columns: Tensor, dtype: torch.dtype, weights: Tensor | None = None
) -> Tensor:
    """Returns the mean over positions of `-Σ_c w_c log softmax(hidden table^T)[column c]`, a scalar float32.

    Forward and backward pass are one: tile by tile of positions the logits are made, used for the loss and for both
    gradients, and forgotten (the fused linear cross-entropy of Hsu et al. 2024, "Liger Kernel"). Only first derivatives
    exist.

    Args:
        hidden: `[M, D]` float.
        table: `[N, D]` float.
        columns: `[M, C]` int64, rows of `table` that are answers, or `[M]` where there is one with a weight of 1.
        dtype: Of the three matrix products and the tile, float32 or bfloat16, whatever autocast is on around it; sums
            are float32 in either case.
        weights: `[M, C]` float without gradient, of the answers.
    """
    if columns.dim() == 1:
        columns = columns.unsqueeze(1)
    if weights is None:
        weights = torch.ones_like(columns, dtype=torch.float32)
    return full_softmax_losses(hidden, table, [(columns, weights)], dtype)[0]


def full_softmax_losses(
    hidden: Tensor, table: Tensor, answers: Sequence[tuple[Tensor, Tensor]], dtype: torch.dtype
) -> list[Tensor]:
    """Returns `full_softmax_loss` of each of several kinds of answers, for little more than the cost of one.

    The gradient of all of them lies with the first: only their sum is to be differentiated.

    Args:
        answers: Columns `[M, C]` and weights `[M, C]` of each kind; C may differ.
        The others: See `full_softmax_loss`.
    """
    widths = [columns.shape[1] for columns, _ in answers]
    columns, weights = (torch.cat(kind, dim=1) for kind in zip(*answers, strict=True))
    with float32_scores(hidden.device):
        total, by_kind = _FullSoftmaxLoss.apply(hidden.float(), table.float(), columns, weights.float(), widths, dtype)
    _, *others = by_kind
    return [total - sum(others), *others]


class _FullSoftmaxLoss(torch.autograd.Function):
    """The sum over all answers, and, without gradient, what each kind of `widths` columns has in it, `[kinds]`."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        table: Tensor,
        columns: Tensor,
        weights: Tensor,
        widths: list[int],
        dtype: torch.dtype,
    ) -> tuple[Tensor, Tensor]:
        M, mass = len(hidden), weights.sum(1, keepdim=True)
        kinds = [
            _Answers.of(*kind, hidden, table)
            for kind in zip(columns.split(widths, 1), weights.split(widths, 1), strict=True)
        ]
        grad_hidden = torch.zeros_like(hidden)
        for kind in kinds:
            grad_hidden.index_add_(0, kind.rows, kind.mean_vectors, alpha=-1 / M)
        grad_table = torch.zeros_like(table)
        table_, log_sums = table.to(dtype), []
        step = max(1, TILE // len(table))
        for first in range(0, M, step):
            part = slice(first, first + step)
            tile = hidden[part].to(dtype) @ table_.T
            largest = tile.amax(1, keepdim=True)
            exp = tile.sub_(largest).exp_()
            total = exp.sum(1, keepdim=True, dtype=torch.float32)
            log_sums.append(total.log() + largest)
            share = mass[part] / total  # softmax = exp * share: scaling D columns is cheaper than N
            grad_hidden[part] += (exp @ table_) * (share / M)
            grad_table += exp.T @ (hidden[part] * share).to(dtype)
        grad_table.div_(M)
        for kind in kinds:
            for place in range(kind.columns.shape[1]):  # one after the other: a second [m, C, D] would be large
                weighted = kind.states * kind.weights[:, place : place + 1]
                grad_table.index_add_(0, kind.columns[:, place], weighted, alpha=-1 / M)
        log_sum = torch.cat(log_sums).squeeze(1)
        by_kind = torch.stack([kind.loss(log_sum) for kind in kinds]) / M
        ctx.save_for_backward(grad_hidden, grad_table)
        ctx.mark_non_differentiable(by_kind)
        return by_kind.sum().float(), by_kind.float()

    @staticmethod
    def backward(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor, Tensor, None, None, None, None]:
        grad_hidden, grad_table = ctx.saved_tensors
        return grad * grad_hidden, grad * grad_table, None, None, None, None


class _Answers(NamedTuple):
    """One kind of answers, at the positions that have any: a teacher may have been asked about few.

    rows: `[m]` int64.
    columns, weights: `[m, C]`.
    states: `[m, D]`.
    products: `[m, C]`, of states and answers' vectors.
    mean_vectors: `[m, D]`, the answers' vectors times their weights.
    """

    rows: Tensor
    columns: Tensor
    weights: Tensor
    states: Tensor
    products: Tensor
    mean_vectors: Tensor

    @classmethod
    def of(cls, columns: Tensor, weights: Tensor, hidden: Tensor, table: Tensor) -> "_Answers":
        rows = weights.any(1).nonzero().squeeze(1)
        columns, weights, states = columns[rows], weights[rows], hidden[rows]
        vectors = table[columns]  # [m, C, D]
        products = (vectors @ states.unsqueeze(2)).squeeze(2)
        return cls(rows, columns, weights, states, products, (weights.unsqueeze(1) @ vectors).squeeze(1))

    def loss(self, log_sum: Tensor) -> Tensor:
        """Returns the weighted `-log softmax` summed over positions, from all positions' log-sums `[M]`; float64."""
        return (self.weights * (log_sum[self.rows].unsqueeze(1) - self.products)).sum(dtype=torch.float64)
