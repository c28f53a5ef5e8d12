"""Every shipped student, made small."""

import torch
import yaml
from torch import Tensor

from src.core.paths import CONF_DIR
from src.student.factory import STUDENTS, create_student
from src.student.models import SequentialRecommender
from src.student.paper_students import PaperStudent

NAMES = sorted(STUDENTS)
PAPER = [name for name in NAMES if issubclass(STUDENTS[name], PaperStudent)]
NUM_ITEMS, D, L = 15, 8, 6


def architecture(name: str, dropout: float = 0.0) -> dict:
    """Returns `student.model` as shipped, but of width 8, six items long; not every student has dropout."""
    shipped = yaml.safe_load((CONF_DIR / "student" / f"{name}.yaml").read_text())["model"]
    small = {"hidden_size": D, "history_length": L, "dropout": dropout}
    return {key: small.get(key, value) for key, value in shipped.items()}


def student(name: str, seed: int = 0, dropout: float = 0.0) -> SequentialRecommender:
    torch.manual_seed(seed)
    return create_student(name, NUM_ITEMS, architecture(name, dropout)).eval()


def histories() -> Tensor:
    """Returns `[4, 6]`: lengths 6, 3, 1 and 5; item 1 stands first, last and alone."""
    return torch.tensor([[1, 5, 3, 1, 9, 15], [4, 4, 1, 0, 0, 0], [1, 0, 0, 0, 0, 0], [7, 2, 11, 13, 8, 0]])
