"""Makes students and losses of their settings."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from .choices import LOSSES, STUDENTS
from .losses import NextItemLoss
from .models import SequentialRecommender
from .settings import LossSettings


def create_student(name: str, num_items: int, architecture: Mapping[str, Any]) -> SequentialRecommender:
    """Returns a freshly initialised student.

    Args:
        name: Key `student.name`.
        num_items: Size of the catalogue.
        architecture: The constructor's other arguments (key `student.model`).

    Raises:
        UserError: There is no student of that name.
    """
    return STUDENTS[name](num_items, **architecture)


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
