"""How much each example counts in distillation, decided anew in every step (`distill.weighting`)."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from torch import Tensor

from ..core.errors import UserError
from .informativeness import ground_truth_error, look_ahead, mean_one
from .listwise_losses import listwise_kl, probability_weights, softmax_ranking


class Lesson(NamedTuple):
    """What a training step knows of the m examples that the teacher ranked; columns are items, 0-based.

    hidden: `[m, D]`, the student's states.
    scores: `[m, N]`, or None where nothing asks for them.
    target: `[m]` int64 columns.
    candidates: `[m, K]` int64 columns, the teacher's best first.
    distance: `[m, K]`, larger = the teacher is less sure.
    validation_gradient: Makes `[N, D]`, see `informativeness.output_gradient`; asked for only where it is needed.
    """

    hidden: Tensor
    scores: Tensor | None
    target: Tensor
    candidates: Tensor
    distance: Tensor
    validation_gradient: Callable[[], Tensor]


def _kl_divergence(lesson: Lesson) -> Tensor:
    """What the teacher says and the student does not."""
    return listwise_kl(lesson.scores, lesson.candidates, lesson.distance, 1.0)


def _ground_truth_error(lesson: Lesson) -> Tensor:
    return ground_truth_error(lesson.scores, lesson.target)


def _meta(lesson: Lesson) -> Tensor:
    """What a step towards the teacher's list does to the validation loss."""
    loss = partial(
        softmax_ranking, candidates=lesson.candidates, weights=probability_weights(lesson.distance, temperature=1.0)
    )
    return look_ahead(lesson.hidden, lesson.scores, lesson.validation_gradient(), loss)


UNIFORM = "uniform"
WEIGHTINGS: dict[str, Callable[[Lesson], Tensor]] = {
    "kl_divergence": _kl_divergence,
    "ground_truth_error": _ground_truth_error,
    "meta": _meta,
}


def check_weighting(name: str) -> None:
    """Makes sure that there is a weighting of that name (config key `distill.weighting`).

    Raises:
        UserError: There is none.
    """
    if name != UNIFORM and name not in WEIGHTINGS:
        raise UserError(f"distill.weighting={name} is not known: use one of {', '.join([UNIFORM, *WEIGHTINGS])}.")


def importance(name: str, lesson: Lesson) -> Tensor | None:
    """Returns `[m]` weights, one on average and without gradient; None for "uniform"."""
    if name == UNIFORM:
        return None
    return mean_one(WEIGHTINGS[name](lesson._replace(hidden=lesson.hidden.detach(), scores=lesson.scores.detach())))
