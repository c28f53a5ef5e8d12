"""Reads what a run left in its folder, `metrics/` above all, and the prepared dataset it was made from."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import ValidationError
from torch import Tensor

from ..core.artefact import read_json, read_tensors
from ..core.errors import UserError
from ..core.metrics import METRICS
from ..data.dataset import Dataset
from ..evaluation.comparison import Comparison, comparison_of
from ..evaluation.metrics_files import MetricsFile
from ..evaluation.settings import cut_off_of
from .names import MADE_FROM, SUBJECTS
from .names import METRICS as FOLDER

LISTS = ("top_items", "log_likelihood", "top_probability")


class Figures(MetricsFile):
    """What the report reads of a metrics file."""

    dataset: str
    target: list[int]
    metrics: dict[str, float]
    parameters: int
    ms_per_1000_users: float


@dataclass(frozen=True)
class Trained:
    """One training of a model and how it ranked.

    lists: See `evaluation.ranking.Lists`; None where the run kept none.
    """

    figures: Figures
    lists: dict[str, Tensor] | None

    @cached_property
    def rank(self) -> Tensor:
        """`[n]` int64, from 1."""
        return torch.tensor(self.figures.rank)


@dataclass(frozen=True)
class Model:
    """A model with all of its trainings, which ranked the same examples."""

    subject: str
    trainings: list[Trained]

    @property
    def name(self) -> str:
        """As tables call it."""
        return self.trainings[0].figures.model

    @property
    def ms_per_1000_users(self) -> float:
        """Mean over trainings."""
        return float(np.mean([each.figures.ms_per_1000_users for each in self.trainings]))

    @property
    def lists(self) -> list[dict[str, Tensor]]:
        """Those of every training; none where one has none."""
        kept = [each.lists for each in self.trainings if each.lists is not None]
        return kept if len(kept) == len(self.trainings) else []

    def values(self, metric: str) -> np.ndarray:
        """Returns a metric of every example, `[n]` float64, the mean over trainings."""
        kind, k = cut_off_of(metric)
        return np.mean([METRICS[kind](each.rank, k).numpy() for each in self.trainings], axis=0)


@dataclass(frozen=True)
class StoredRun:
    """What a run's folder holds.

    name: What it is called beside other runs.
    models: By subject, in the order of `SUBJECTS`.
    seconds: Wall-clock time of the stages that this run made, by their names.
    made_from: What the run kept of its artefacts (`made_from.json`): learning curves, costs; or None.
    dataset: Or None.
    no_dataset: Why there is none, a sentence.
    """

    folder: Path
    name: str
    models: dict[str, Model]
    comparison: Comparison | None
    seconds: dict[str, float]
    made_from: dict[str, Any] | None
    dataset: Dataset | None
    no_dataset: str

    @property
    def first(self) -> Figures:
        """Of the first model: all ranked the same examples of the same dataset."""
        return next(iter(self.models.values())).trainings[0].figures

    @property
    def user(self) -> np.ndarray:
        """`[n]` int64, whose the examples are."""
        return np.array(self.first.user)

    def curves(self) -> dict[str, dict[str, Any]]:
        """Returns the manifests' results of what was trained and has a learning curve, by artefact."""
        artefacts = {} if self.made_from is None else self.made_from["artefacts"]
        return {name: about for name, about in artefacts.items() if about["result"].get("curve")}


def read_run(folder: Path, name: str | None = None) -> StoredRun:
    """Returns what a run's folder holds; the run is called `name`, or as the folder.

    Raises:
        UserError: It is no folder of a run that ranked models, a file of it is damaged, or its models ranked different
            examples.
    """
    metrics = folder / FOLDER
    models = {subject: Model(subject, found) for subject in SUBJECTS if (found := _trainings(metrics, subject))}
    if not models:
        raise UserError(
            f"report.runs names {folder}, which has no metrics/<model>.json: give the folder of a run that ranked "
            "models, result/result_<time>."
        )
    _refuse_different_examples(folder, models)
    made_from = _read(metrics / MADE_FROM)
    dataset, why = _dataset(made_from)
    return StoredRun(
        folder,
        name or folder.name,
        models,
        comparison=_comparison(metrics / "comparison.json"),
        seconds=(_read(metrics / "time.json") or {}).get("seconds", {}),
        made_from=made_from,
        dataset=dataset,
        no_dataset=why,
    )


def _trainings(metrics: Path, subject: str) -> list[Trained]:
    paths = [metrics / f"{subject}.json", *sorted(metrics.glob(f"{subject}_seed_*.json"), key=_seed_of)]
    return [_trained(path) for path in paths if path.is_file()]


def _seed_of(path: Path) -> tuple[int, str]:
    return len(path.stem), path.stem  # 2 before 10


def _trained(path: Path) -> Trained:
    try:
        figures = Figures.model_validate(read_json(path))
    except ValidationError as error:
        where = ".".join(map(str, error.errors()[0]["loc"]))
        raise UserError(
            f"{path}, {where}: {error.errors()[0]['msg']}; it is no metrics file: evaluate the models again."
        ) from None
    tensors = path.with_suffix(".safetensors")
    lists = read_tensors(tensors, *LISTS) if tensors.is_file() else None
    lengths = {len(figures.rank), len(figures.user), len(figures.target), *map(len, (lists or {}).values())}
    if lengths != {len(figures.example_id)}:
        raise UserError(f"{path} and {tensors.name} do not go together: evaluate the models again.")
    return Trained(figures, lists)


def _refuse_different_examples(folder: Path, models: Mapping[str, Model]) -> None:
    figures = [each.figures for model in models.values() for each in model.trainings]
    if any((each.dataset_fingerprint, each.example_id) != _examples(figures[0]) for each in figures):
        raise UserError(f"The models in {folder} ranked different examples: start the run's command again.")


def _examples(figures: Figures) -> tuple[str, list[int]]:
    return figures.dataset_fingerprint, figures.example_id


def _comparison(path: Path) -> Comparison | None:
    plain = _read(path)
    return None if plain is None else comparison_of({"steps": [], **plain})  # runs before 0.3 told no steps


def _read(path: Path) -> Any:
    return read_json(path) if path.is_file() else None


def _dataset(made_from: dict[str, Any] | None) -> tuple[Dataset | None, str]:
    if made_from is None:
        return None, "The run does not say where its prepared dataset lies (it was made by an earlier version)."
    try:
        return Dataset.load(Path(made_from["dataset_folder"])), ""
    except UserError as error:
        return None, str(error)
