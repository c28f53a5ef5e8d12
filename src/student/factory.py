"""Students and losses by name; nothing of PyTorch is imported before one is asked for."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..core.registry import Registry

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from .losses import NextItemLoss
    from .models import SequentialRecommender
    from .settings import LossSettings

STUDENTS: "Registry[type[SequentialRecommender]]" = Registry(
    "student.name",
    __package__,
    {
        "sasrec": "models:SASRec",
        "gru4rec": "models:GRU4Rec",
        "caser": "caser:Caser",
        "sasrec_paper": "paper_students:PaperSASRec",
        "gru4rec_paper": "paper_students:PaperGRU4Rec",
        "caser_paper": "paper_students:PaperCaser",
    },
    kind="models:SequentialRecommender",
)

LOSSES: "Registry[type[NextItemLoss]]" = Registry(
    "student.loss.name",
    __package__,
    {
        "cross_entropy": "losses:CrossEntropy",
        "sampled_softmax": "losses:SampledSoftmax",
        "gbce": "losses:GBCE",
        "bce": "losses:BCE",
    },
    kind="losses:NextItemLoss",
)


def create_student(name: str, num_items: int, architecture: Mapping[str, Any]) -> "SequentialRecommender":
    """Returns a freshly initialised student.

    Args:
        name: Key `student.name`.
        num_items: Size of the catalogue.
        architecture: The constructor's other arguments (key `student.model`).

    Raises:
        UserError: There is no student of that name.
    """
    return STUDENTS[name](num_items, **architecture)


def create_loss(settings: "LossSettings", item_counts: "Tensor", dtype: "torch.dtype") -> "NextItemLoss":
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
