"""How much each example counts in distillation, decided anew in every step (`distill.weighting`)."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from .informativeness import ground_truth_error, look_ahead, mean_one
from .listwise_losses import listwise_kl, probability_weights, softmax_ranking


class DistillationBatch(NamedTuple):
    """What a training step knows of the m examples that the teacher ranked; columns are items, 0-based.

    hidden: `[m, D]`, the student's states.
    scores: `[m, N]`; `[m, 0]` where nothing asks for them.
    target: `[m]` int64 columns.
    candidates: `[m, K]` int64 columns, the teacher's best first.
    distance: `[m, K]`, larger = the teacher is less sure.
    validation_gradient: Makes `[N, D]`, see `informativeness.output_gradient`; asked for only where it is needed.
    """

    hidden: Tensor
    scores: Tensor
    target: Tensor
    candidates: Tensor
    distance: Tensor
    validation_gradient: Callable[[], Tensor]


def kl_divergence(batch: DistillationBatch) -> Tensor:
    """What the teacher says and the student does not."""
    return listwise_kl(batch.scores, batch.candidates, batch.distance, 1.0)


def ground_truth_error_of_batch(batch: DistillationBatch) -> Tensor:
    """What the student gets wrong."""
    return ground_truth_error(batch.scores, batch.target)


def meta(batch: DistillationBatch) -> Tensor:
    """What a step towards the teacher's list does to the validation loss."""
    loss = partial(
        softmax_ranking, candidates=batch.candidates, weights=probability_weights(batch.distance, temperature=1.0)
    )
    return look_ahead(batch.hidden, batch.scores, batch.validation_gradient(), loss)


def uniform(batch: DistillationBatch) -> None:
    """All alike."""


def importance(
    weighting: Callable[[DistillationBatch], Tensor | None],
    batch: DistillationBatch,
    mean: Callable[[Tensor], Tensor] = torch.mean,
) -> Tensor | None:
    """Returns `[m]` weights, one on average and without gradient; None where all examples count alike.

    Args:
        weighting: Of `distill.weighting`.
        batch: The m examples.
        mean: Over what the average is one: of a batch that processes share, over all of their examples.
    """
    if weighting is uniform:
        return None
    values = weighting(batch._replace(hidden=batch.hidden.detach(), scores=batch.scores.detach()))
    return None if values is None else mean_one(values, mean)
