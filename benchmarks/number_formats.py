"""The number formats in which a GPU multiplies matrices, and a student's scores in each of them."""

from collections.abc import Callable

import torch
from torch import Tensor

from src.core.metrics import Scores
from src.data.dataset import ExampleBatch
from src.student.models import CatalogueScores, SequentialRecommender

FORMATS = ("float32", "TF32", "bf16")
SCORES_TOO = "bf16, scores too"  # what `float32_scores` keeps from happening


def multiply_as(number_format: str) -> None:
    """Lets float32 products run in TF32 (19 bits) for "TF32" and in float32 for all others, in cuDNN, too.

    PyTorch's own choice is float32 for products and TF32 for cuDNN's convolutions and GRU. Its older names, because
    Lightning asks by them, and mixing both is an error.
    """
    tf32 = number_format == "TF32"
    torch.set_float32_matmul_precision("high" if tf32 else "highest")
    torch.backends.cudnn.allow_tf32 = tf32


def scorer(model: SequentialRecommender, number_format: str, device: torch.device) -> Callable[[ExampleBatch], Scores]:
    """Returns what scores as `evaluate` asks.

    In bf16 the encoder computes under autocast, which the program never lets a student do when it ranks; scores are
    float32 but for `SCORES_TOO`.
    """
    if number_format in ("float32", "TF32"):
        return lambda batch: model.predictions(batch.history)

    def states_of(batch: ExampleBatch) -> Tensor:
        with torch.autocast(device.type, torch.bfloat16):
            return model.user_representation(batch.history)

    def scores_too(batch: ExampleBatch) -> Tensor:
        with torch.autocast(device.type, torch.bfloat16):
            return model.score(states_of(batch))

    if number_format == SCORES_TOO:
        return scores_too
    return lambda batch: CatalogueScores(states_of(batch).float(), *model.output_layer())
