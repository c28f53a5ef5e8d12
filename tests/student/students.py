"""Every shipped student, made small."""

from functools import cache
from typing import get_args

import torch
from torch import Tensor

from src.exp.program.config import compose_settings
from src.student.choices import STUDENTS
from src.student.factory import create_student
from src.student.models import SequentialRecommender
from src.student.paper_students import PaperStudent
from src.student.settings import LossSettings, Positions, StudentSettings

NAMES = sorted(STUDENTS)
OTHER_PLACES = [f"{name}/{how}" for name in ("sasrec", "bsarec") for how in get_args(Positions) if how != "absolute"]
RESIDUAL = ["gru4rec/residual", "caser/residual"]
VARIANTS = [*OTHER_PLACES, *RESIDUAL]
PAPER = [name for name in NAMES if issubclass(STUDENTS[name], PaperStudent)]
NUM_ITEMS, D, L = 15, 8, 6


@cache
def shipped(option: str, loss: str = "cross_entropy") -> StudentSettings:
    """Returns the settings that `student=<option> student/loss=<loss>` stands for."""
    return compose_settings(f"student={option}", f"student/loss={loss}").student


def shipped_loss(name: str) -> LossSettings:
    return shipped("sasrec", name).loss


def architecture(name: str, dropout: float = 0.0) -> dict:
    """Returns `student.model` as shipped, but of width 8, six items long; not every student has dropout.

    `name` may say how places are known, `sasrec/rotary`, or that inputs are added to the state, `gru4rec/residual`.
    """
    name, _, variant = name.partition("/")
    small = {"hidden_size": D, "history_length": L, "dropout": dropout}
    small |= {"filter_items": 3, "residual": variant == "residual"}
    small |= {"positions": variant} if variant and variant != "residual" else {}
    return {key: small.get(key, value) for key, value in shipped(name).model.plain().items()}


def student(name: str, seed: int = 0, dropout: float = 0.0) -> SequentialRecommender:
    torch.manual_seed(seed)
    return create_student(name.partition("/")[0], NUM_ITEMS, architecture(name, dropout)).eval()


def histories() -> Tensor:
    """Returns `[4, 6]`: lengths 6, 3, 1 and 5; item 1 stands first, last and alone."""
    return torch.tensor([[1, 5, 3, 1, 9, 15], [4, 4, 1, 0, 0, 0], [1, 0, 0, 0, 0, 0], [7, 2, 11, 13, 8, 0]])
