"""Builds a student by name; the one place that knows which there are."""

from typing import Any

from ..core.errors import UserError
from .caser import Caser
from .models import GRU4Rec, SASRec, SequentialRecommender
from .paper_students import PaperCaser, PaperGRU4Rec, PaperSASRec

STUDENTS: dict[str, type[SequentialRecommender]] = {
    "sasrec": SASRec,
    "gru4rec": GRU4Rec,
    "caser": Caser,
    "sasrec_paper": PaperSASRec,
    "gru4rec_paper": PaperGRU4Rec,
    "caser_paper": PaperCaser,
}


def student_named(name: str) -> type[SequentialRecommender]:
    """Returns the class of a student (config key `student.name`).

    Raises:
        UserError: There is no student of that name.
    """
    if name not in STUDENTS:
        raise UserError(f"student.name={name} is not known: use one of {', '.join(STUDENTS)}.")
    return STUDENTS[name]


def create_student(name: str, num_items: int, architecture: dict[str, Any]) -> SequentialRecommender:
    """Returns a freshly initialised student.

    Args:
        name: See `student_named`.
        num_items: Size of the catalogue.
        architecture: The constructor's other arguments (config key `student.model`).
    """
    return student_named(name)(num_items, **architecture)
