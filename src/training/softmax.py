"""Cross-entropy over the whole catalogue without ever storing the logits of all positions."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..core.precision import float32_scores

# Logits held at once. A tile of this many stays in the cores' caches: on 2 cores four to five times as fast as a
# matrix of all logits (benchmarks/README.md), and the memory does not grow with positions x catalogue.
TILE = 1 << 22
ROWS = 64  # positions of a tile at least: at a million items their time goes into reading the table, once a tile
LEAST_LEFT = 1e-6  # of the softmax for the columns that are no answers
BOUNDED = 60.0  # scores of at most this size are exponentiated as they are: e^60, 1e26, and its sums are finite in bf16
BLOCK = 128  # columns


class Answers(NamedTuple):
    """What is to be likely at M positions.

    columns, weights: `[M, C]` int64 and float without gradient: `-Σ_c w_c log softmax_c`.
    rest: `[M, 1]` float without gradient: besides, `-rest · log(1 - Σ_c softmax_c)`, all other columns as one answer
        (a position's columns are distinct then). With weights that are probabilities p and `rest = 1 - Σ p` the sum is
        the cross-entropy to a distribution of which no more is known. None: nothing.
    """

    columns: Tensor
    weights: Tensor
    rest: Tensor | None = None


def full_softmax_loss(
    hidden: Tensor,
    table: Tensor,
    columns: Tensor,
    dtype: torch.dtype,
    weights: Tensor | None = None,
    bias: Tensor | None = None,
) -> Tensor:
    """Returns the mean over positions of `-Σ_c w_c log softmax(hidden table^T + bias)[column c]`, a scalar float32.

    Forward and backward pass are one: tile by tile of positions the logits are made, used for the loss and for both
    gradients, and forgotten (the fused linear cross-entropy of Hsu et al. 2024, "Liger Kernel"). Only first derivatives
    exist, and only of what requires them: a table that is no parameter has none of its size.

    Args:
        hidden: `[M, D]` float.
        table: `[N, D]` float.
        columns: `[M, C]` int64, rows of `table` that are answers, or `[M]` where there is one with a weight of 1.
        dtype: Of the three matrix products and the tile, float32 or bfloat16, whatever autocast is on around it; sums
            are float32 in either case.
        weights: `[M, C]` float without gradient, of the answers.
        bias: `[N]` float; None: zeros.
    """
    if columns.dim() == 1:
        columns = columns.unsqueeze(1)
    if weights is None:
        weights = torch.ones_like(columns, dtype=torch.float32)
    return full_softmax_losses(hidden, table, [Answers(columns, weights)], dtype, bias)[0]


def full_softmax_losses(
    hidden: Tensor, table: Tensor, answers: Sequence[Answers], dtype: torch.dtype, bias: Tensor | None = None
) -> list[Tensor]:
    """Returns `full_softmax_loss` of each of several kinds of answers, for little more than the cost of one.

    The gradient of all of them lies with the first: only their sum is to be differentiated.

    Args:
        answers: Of each kind; C may differ.
        The others: See `full_softmax_loss`.
    """
    widths = [kind.columns.shape[1] for kind in answers]
    columns, weights = (
        torch.cat([kind.columns for kind in answers], 1),
        torch.cat([kind.weights for kind in answers], 1),
    )
    rests = [None if kind.rest is None else kind.rest.float() for kind in answers]
    with float32_scores(hidden.device):
        total, by_kind = _FullSoftmaxLoss.apply(
            hidden.float(),
            table.float(),
            None if bias is None else bias.float(),
            columns,
            weights.float(),
            widths,
            rests,
            dtype,
        )
    _, *others = by_kind
    return [total - sum(others), *others]


class _FullSoftmaxLoss(torch.autograd.Function):
    """The sum over all answers, and, without gradient, what each kind of `widths` columns has in it, `[kinds]`."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        table: Tensor,
        bias: Tensor | None,
        columns: Tensor,
        weights: Tensor,
        widths: list[int],
        rests: list[Tensor | None],
        dtype: torch.dtype,
    ) -> tuple[Tensor, Tensor]:
        M, mass = len(hidden), weights.sum(1, keepdim=True)
        kinds = [
            _Answered.of(*kind, hidden, table, bias)
            for kind in zip(columns.split(widths, 1), weights.split(widths, 1), rests, strict=True)
        ]
        grad_hidden = torch.zeros_like(hidden)
        for kind in kinds:
            if kind.mean_vectors is not None:
                grad_hidden.index_add_(0, kind.rows, kind.mean_vectors, alpha=-1 / M)
        _, of_table, of_bias, *_ = ctx.needs_input_grad
        grad_table = torch.zeros_like(table) if of_table else None
        grad_bias = torch.zeros_like(bias) if bias is not None and of_bias else None
        table_, log_sums, bounded = table.to(dtype), [], _is_bounded(hidden, table, bias)
        bias_ = None if bias is None else bias.to(dtype)
        step = max(ROWS, TILE // len(table))
        for first in range(0, M, step):
            part = slice(first, first + step)
            tile = hidden[part].to(dtype) @ table_.T
            if bias_ is not None:
                tile += bias_
            shift = 0.0 if bounded else tile.amax(1, keepdim=True)
            exp = (tile if bounded else tile.sub_(shift)).exp_()
            total = _row_sums(exp)
            log_sums.append(total.log() + shift)
            for kind in kinds:
                if kind.rest is not None:
                    kind.count_rest(first, log_sums[-1], mass)
            share = mass[part] / total  # softmax = exp * share: scaling D columns is cheaper than N
            grad_hidden[part] += (exp @ table_) * (share / M)
            if grad_table is not None:
                grad_table += exp.T @ (hidden[part] * share).to(dtype)
            if grad_bias is not None:
                grad_bias += exp.T @ share.squeeze(1).to(dtype)
        grads = [grad for grad in (grad_table, grad_bias) if grad is not None]
        for grad in grads:
            grad.div_(M)
        for kind in kinds:
            if kind.mean_vectors is None:
                mean_vectors = (kind.weights.unsqueeze(1) @ table[kind.columns]).squeeze(1)
                grad_hidden.index_add_(0, kind.rows, mean_vectors, alpha=-1 / M)
            for place in range(kind.columns.shape[1]):  # one after the other: a second [m, C, D] would be large
                column, weight = kind.columns[:, place], kind.weights[:, place]
                if grad_table is not None:
                    grad_table.index_add_(0, column, kind.states * weight.unsqueeze(1), alpha=-1 / M)
                if grad_bias is not None:
                    grad_bias.index_add_(0, column, weight, alpha=-1 / M)
        log_sum = torch.cat(log_sums).squeeze(1)
        by_kind = torch.stack([kind.loss(log_sum) for kind in kinds]) / M
        ctx.save_for_backward(grad_hidden, grad_table, grad_bias)
        ctx.mark_non_differentiable(by_kind)
        return by_kind.sum().float(), by_kind.float()

    @staticmethod
    def backward(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        of_inputs = [None if each is None else grad * each for each in ctx.saved_tensors]
        return *of_inputs, *(None for _ in ctx.needs_input_grad[3:])


def _is_bounded(hidden: Tensor, table: Tensor, bias: Tensor | None) -> bool:
    """Returns whether no score, of a row of `hidden` and one of `table`, can be larger than `BOUNDED` (Cauchy-Schwarz):
    the largest of each row of scores need not be sought and subtracted then. Asked on a CPU alone: a GPU would wait.
    """
    if hidden.device.type != "cpu" or len(hidden) == 0:
        return False
    largest = hidden.norm(dim=1).amax() * table.norm(dim=1).amax()
    if bias is not None:
        largest = largest + bias.abs().amax()
    return bool(largest <= BOUNDED)  # not where there is a NaN


def _row_sums(exp: Tensor) -> Tensor:
    """Returns the sums of `exp [m, N]` over its columns, `[m, 1]` float32.

    A CPU adds up bf16 numbers in float32 only after it has copied them; blocks of columns are added up in float32 too,
    but each block's sum is rounded to bf16, as every number in it was.
    """
    if exp.dtype == torch.float32 or exp.device.type != "cpu":
        return exp.sum(1, keepdim=True, dtype=torch.float32)
    whole = exp.shape[1] // BLOCK * BLOCK
    blocks = exp[:, :whole].unflatten(1, (whole // BLOCK, BLOCK)).sum(2)
    rest = exp[:, whole:].sum(1, keepdim=True, dtype=torch.float32)
    return blocks.sum(1, keepdim=True, dtype=torch.float32) + rest


@dataclass
class _Answered:
    """One kind of answers, at the positions that have any: a teacher may have been asked about few.

    rows: `[m]` int64, ascending.
    columns, weights: `[m, C]`; with a rest, weights are later those that its gradient has, too.
    rest: `[m, 1]`, or None.
    states: `[m, D]`.
    products: `[m, C]`, of states and answers' vectors, with the bias.
    mean_vectors: `[m, D]`, the answers' vectors times their weights; None with a rest, which changes them.
    summed: The loss, float64, gathered tile by tile where there is a rest.
    """

    rows: Tensor
    columns: Tensor
    weights: Tensor
    rest: Tensor | None
    states: Tensor
    products: Tensor
    mean_vectors: Tensor | None
    summed: Tensor

    @classmethod
    def of(
        cls,
        columns: Tensor,
        weights: Tensor,
        rest: Tensor | None,
        hidden: Tensor,
        table: Tensor,
        bias: Tensor | None,
    ) -> "_Answered":
        any_weight = weights.any(1) if rest is None else weights.any(1) | rest.any(1)
        rows = any_weight.nonzero().squeeze(1)
        columns, weights, states = columns[rows], weights[rows], hidden[rows]
        vectors = table[columns]  # [m, C, D]
        products = (vectors @ states.unsqueeze(2)).squeeze(2)
        if bias is not None:
            products = products + bias[columns]
        mean = (weights.unsqueeze(1) @ vectors).squeeze(1) if rest is None else None
        rest = None if rest is None else rest[rows]
        return cls(rows, columns, weights, rest, states, products, mean, weights.new_zeros((), dtype=torch.float64))

    def count_rest(self, first: int, log_sum: Tensor, mass: Tensor) -> None:
        """Adds what the rest's loss says of the positions from `first` on, of which `log_sum [tile, 1]` are known.

        With Q the softmax's share of the answers, -r log(1 - Q) has the gradient -r q_j Q / (1 - Q) at another column j
        and r q_c at an answer c: the first for all columns, as further `mass [M, 1]`, the difference at the answers.
        """
        assert self.rest is not None
        ends = torch.tensor([first, first + len(log_sum)], device=self.rows.device)
        start, end = torch.searchsorted(self.rows, ends).tolist()
        rows, rest = self.rows[start:end], self.rest[start:end]
        log_q = self.products[start:end] - log_sum[rows - first]
        q = log_q.exp()
        left = (1 - q.sum(1, keepdim=True)).clamp_min(LEAST_LEFT)
        self.summed -= (self.weights[start:end] * log_q).sum(dtype=torch.float64)
        self.summed -= (rest * left.log()).sum(dtype=torch.float64)
        mass[rows] -= rest * (1 - left) / left
        self.weights[start:end] -= rest * q / left

    def loss(self, log_sum: Tensor) -> Tensor:
        """Returns the loss summed over positions, from all positions' log-sums `[M]`; float64."""
        if self.rest is not None:
            return self.summed
        return (self.weights * (log_sum[self.rows].unsqueeze(1) - self.products)).sum(dtype=torch.float64)
