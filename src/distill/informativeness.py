"""How much an example is worth asking about, or learning from, in the eyes of the student: one number per example.

Items are COLUMNS of the score matrix `[m, N]`, 0-based. No gradients are kept.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor


@torch.no_grad()
def ground_truth_error(scores: Tensor, target: Tensor) -> Tensor:
    """`-log softmax(scores)_target`, `[m]`: what the student gets wrong.

    Args:
        scores: `[m, N]`.
        target: `[m]` int64 columns.
    """
    return scores.logsumexp(1) - scores.gather(1, target.unsqueeze(1)).squeeze(1)


@torch.no_grad()
def committee_divergence(scores: Sequence[Tensor]) -> Tensor:
    """`mean_c KL(p_c ‖ mean_c p_c)`, `[m]`: where the members of a committee disagree (McCallum & Nigam 1998).

    Args:
        scores: `[m, N]` of each member, two at least.
    """
    log_p = torch.stack([each.log_softmax(1) for each in scores])  # [C, m, N]
    consensus = log_p.logsumexp(0) - torch.tensor(float(len(scores))).log()
    return (log_p.exp() * (log_p - consensus)).sum(2).mean(0).clamp(min=0)


def output_gradient(hidden: Tensor, scores: Tensor, target: Tensor) -> Tensor:
    """Gradient of the mean cross-entropy with respect to the item vectors as output layer, `[N, D]`.

    Args:
        hidden: `[m, D]`.
        scores: `[m, N]`, `hidden` times the item vectors.
        target: `[m]` int64 columns.
    """
    with torch.no_grad():
        wrong = scores.softmax(1)
        wrong[torch.arange(len(target), device=target.device), target] -= 1
        return wrong.T @ hidden / len(hidden)


def look_ahead(hidden: Tensor, scores: Tensor, gradient: Tensor, loss: Callable[[Tensor], Tensor]) -> Tensor:
    """`max(0, <gradient, ∇ loss_i>)`, `[m]`: how much one small step on example i lowers the validation loss.

    The weights of Ren et al. 2018 ("Learning to Reweight Examples", one step of look-ahead, negative ones cut off) with
    gradients of the output layer alone, so that they cost one matrix product.

    Args:
        hidden: `[m, D]`, states of the examples.
        scores: `[m, N]`.
        gradient: `[N, D]`, of the validation loss (`output_gradient`).
        loss: `[m, N]` scores to `[m]` losses, each of its own row alone.
    """
    with torch.enable_grad():
        free = scores.detach().requires_grad_()
        (slope,) = torch.autograd.grad(loss(free).sum(), free)
    moved = hidden.detach() @ gradient.T  # how the scores move along the gradient
    return (slope * moved).sum(1).clamp(min=0)


def mean_one(values: Tensor, mean_of: Callable[[Tensor], Tensor] = torch.mean) -> Tensor:
    """Returns non-negative `values [m]` divided by their mean; ones where all are zero."""
    mean = mean_of(values)
    return values / mean if mean > 0 else torch.ones_like(values)
