"""Cross-entropy over the whole catalogue without ever storing the logits of all positions."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

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
        dtype: Of the three matrix products and the tile, float32 or bfloat16; sums are float32 in either case.
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
    columns, weights = (torch.cat(kind, dim=1) for kind in zip(*answers, strict=True))
    total, by_place = _FullSoftmaxLoss.apply(hidden.float(), table.float(), columns, weights.float(), dtype)
    _, *others = (part.sum() for part in by_place.split([of.shape[1] for of, _ in answers]))
    return [total - sum(others), *others]


class _FullSoftmaxLoss(torch.autograd.Function):
    """The sum over all answers, and, without gradient, what each of the C places has in it, `[C]`."""

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, table: Tensor, columns: Tensor, weights: Tensor, dtype: torch.dtype
    ) -> tuple[Tensor, Tensor]:
        M, mass, answers = len(hidden), weights.sum(1, keepdim=True), table[columns]  # [M, C, D]
        grad_hidden = (weights.unsqueeze(1) @ answers).squeeze(1).div_(-M)
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
        for place in range(columns.shape[1]):  # one after the other: a second [M, C, D] would be large
            grad_table.index_add_(0, columns[:, place], hidden * weights[:, place : place + 1], alpha=-1 / M)
        log_loss = torch.cat(log_sums) - (answers @ hidden.unsqueeze(2)).squeeze(2)
        by_place = (weights * log_loss).sum(0, dtype=torch.float64) / M
        ctx.save_for_backward(grad_hidden, grad_table)
        ctx.mark_non_differentiable(by_place)
        return by_place.sum().float(), by_place.float()

    @staticmethod
    def backward(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        grad_hidden, grad_table = ctx.saved_tensors
        return grad * grad_hidden, grad * grad_table, None, None, None
