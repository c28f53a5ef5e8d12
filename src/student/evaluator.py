"""Ranks held-out targets with a student."""

from ..core.precision import best_device
from ..data.dataset import Dataset
from ..evaluation.ranking import Evaluation, evaluate
from ..evaluation.settings import MetricsSettings
from .models import SequentialRecommender


def evaluate_student(
    model: SequentialRecommender, dataset: Dataset, split: str, metrics: MetricsSettings, title: str
) -> Evaluation:
    """Returns `evaluate` of a student in evaluation mode, which is moved to the best device.

    Raises:
        UserError: See `evaluate`.
    """
    model.to(best_device())
    return evaluate(
        lambda batch: model.predictions(batch.history),
        dataset,
        split,
        metrics,
        history_length=model.history_length,
        device=best_device(),
        title=title,
    )
