"""Makes students and losses of their settings."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ..core.errors import UserError
from .choices import LOSSES, STUDENTS
from .losses import NextItemLoss
from .models import SequentialRecommender
from .settings import LossSettings

VISIBLE = 1e-4  # share of an item's own change; what cannot see it does not change at all


def create_student(name: str, num_items: int, architecture: Mapping[str, Any]) -> SequentialRecommender:
    """Returns a freshly initialised student.

    Args:
        name: Key `student.name`.
        num_items: Size of the catalogue.
        architecture: The constructor's other arguments (key `student.model`).

    Raises:
        UserError: There is no student of that name, or it reads ahead although its class says that it is causal.
    """
    model: SequentialRecommender = STUDENTS[name](num_items, **architecture)
    if model.causal and _reads_ahead(model):
        raise UserError(
            f"student.name={name} reads ahead: its class says that it is causal, but the state at a position changes "
            "with later items, so that training would show it its targets; set causal = False in the class (it is then "
            "trained example by example), or hide later items."
        )
    return model


@torch.no_grad()
def _reads_ahead(model: SequentialRecommender) -> bool:
    """Whether the state at an item changes with the item behind it."""
    if model.history_length < 2:
        return False
    training = model.training
    states = model.eval().encode(torch.tensor([[1, 1], [1, model.num_items]]))  # [2, 2, D]
    model.train(training)
    first, last = (states[0] - states[1]).abs().amax(1)
    return bool(first > VISIBLE * last)


def create_loss(settings: LossSettings, item_counts: Tensor, dtype: torch.dtype) -> NextItemLoss:
    """Returns the loss that `settings` describe.

    Args:
        settings: Key `student.loss`.
        item_counts: `[num_items]`, training interactions of each item.
        dtype: Of cross-entropy's matrix products.

    Raises:
        UserError: There is no loss of that name.
    """
    own = {name: value for name, value in settings.plain().items() if name != "name"}
    return LOSSES[settings.name].made(item_counts, dtype, **own)
