"""The package's public face for Python callers; PyTorch is imported when it is needed."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .data.dataset import Dataset
    from .evaluation.ranking import Evaluation
    from .student.models import SequentialRecommender


def load_dataset(*overrides: str) -> "Dataset":
    """Returns a prepared dataset; prepares it first where it is not there yet.

    Args:
        overrides: As on the command line, for example `"dataset=amazon_toys"`, `"dataset.limit_data_rows=1000"`.

    Raises:
        UserError: A setting is wrong, raw files are missing or faulty, or nothing is left to learn from.
    """
    from .data.prepare import prepare_dataset
    from .exp.program.config import compose_settings

    settings = compose_settings(*overrides)
    return prepare_dataset(settings.dataset, settings.paths.data_dirs, settings.paths.processed_dir)


def load_student(folder: str | Path, dataset: "Dataset") -> "SequentialRecommender":
    """Returns the student of a folder of `data/models/`, baseline or distilled, in evaluation mode.

    `model.predict(history)` takes `[B, L]` int64 item numbers (oldest first, right-padded with 0) and returns
    `[B, num_items]` float32 scores, column j for item j + 1; `dataset.catalogue` knows raw ids and titles.

    Raises:
        UserError: The folder holds no student, or one of another dataset.
    """
    from .student.store import load_student as load

    return load(Path(folder), dataset)


def evaluate(model: "SequentialRecommender", dataset: "Dataset", split: str = "test", **metrics: Any) -> "Evaluation":
    """Ranks each held-out target against the whole catalogue.

    Args:
        model: From `load_student`.
        dataset: The dataset it was trained on.
        split: "val" or "test".
        metrics: Keys of `metrics.*`, for example `ks=[10]`, `filter_seen=True`.

    Returns:
        `metrics` by name ("NDCG@10"), and `rank` `[n]` int64 of every example.

    Raises:
        UserError: A metric setting is wrong, or the split is empty.
    """
    from .core.settings_reading import read_settings
    from .evaluation.settings import MetricsSettings
    from .student.evaluator import evaluate_student

    return evaluate_student(model, dataset, split, read_settings(MetricsSettings, metrics), f"{split} users")
