"""The package's public face for Python callers; PyTorch is imported when it is needed."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .serve.answers import Recommendation

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
        `metrics` by name (`NDCG@10`), and `rank` `[n]` int64 of every example.

    Raises:
        UserError: A metric setting is wrong, or the split is empty.
    """
    from .core.settings_reading import read_settings
    from .evaluation.settings import MetricsSettings
    from .student.evaluator import evaluate_student

    return evaluate_student(model, dataset, split, read_settings(MetricsSettings, metrics), f"{split} users")


def recommend(
    model: "SequentialRecommender",
    dataset: "Dataset",
    history: Sequence[str],
    k: int = 10,
    filter_seen: bool = False,
) -> list[Recommendation]:
    """Returns the k items that a student ranks first after a history, best first; of equal scores in the order of item
    numbers.

    Args:
        model: From `load_student`.
        dataset: The dataset it was trained on.
        history: Raw ids of items, oldest first; of a long one the model reads its newest part.
        k: How many, at least 1; fewer come where the catalogue holds no more.
        filter_seen: Whether items of the history are left out.

    Raises:
        UserError: The history is empty, or holds an item that the catalogue does not know.
    """
    import torch

    from .core.errors import UserError
    from .core.precision import best_device

    if not history or k < 1:
        raise UserError(
            f"A recommendation needs a history of one item or more and k above 0, not k={k} after {history}."
        )
    catalogue = dataset.catalogue
    seen = torch.tensor([catalogue.number(raw_id) for raw_id in history])
    with torch.inference_mode():
        newest = seen[-model.history_length :].unsqueeze(0).to(best_device())
        scores = model.to(best_device()).eval().predict(newest)[0].cpu()
    order = scores.argsort(descending=True, stable=True) + 1
    if filter_seen:
        order = order[~torch.isin(order, seen)]
    best = order[:k].tolist()
    return [Recommendation(catalogue.raw_id(item), catalogue.title(item), float(scores[item - 1])) for item in best]


def train_student(*overrides: str, run_dir: str | Path | None = None) -> "SequentialRecommender":
    """Returns the student of a config, trained without a teacher, in evaluation mode; trains it first where it is not
    there yet, as `run_student_baseline` does.

    Args:
        overrides: As on the command line, for example `"dataset=ml_100k"`, `"student=gru4rec"`.
        run_dir: Where TensorBoard events and the last checkpoint go; None: a new `result/result_<timestamp>`.

    Raises:
        UserError: A setting is wrong, or the dataset or the student cannot be made.
    """
    from .core.logging import Stopwatch
    from .core.paths import new_folder
    from .exp.program.config import compose_settings
    from .exp.program.mlflow_run import mlflow_run
    from .exp.program.run import Run
    from .exp.stages.road import Road

    settings = compose_settings(*overrides)
    folder = Path(run_dir or new_folder(f"result/result_{time.strftime('%Y%m%d_%H%M%S')}")).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    with mlflow_run(settings, folder) as mlflow:
        road = Road(Run(settings, folder, Stopwatch(folder), mlflow))
        road.go(road.prepared, road.baseline)
    return road.baseline.load()
