"""Reads what a run left in its folder, `metrics/` above all, and the prepared dataset it was made from."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from pydantic import BaseModel, ValidationError
from torch import Tensor

from ..core.artefact import read_json, read_tensors
from ..core.errors import UserError
from ..core.metrics import METRICS
from ..data.dataset import Dataset
from ..evaluation.comparison import Comparison, comparison_of
from ..evaluation.metrics_files import MetricsFile
from ..evaluation.probed import ProbeResult, probe_result_of
from ..evaluation.settings import cut_off_of
from .names import MADE_FROM, PROBE, SUBJECTS
from .names import METRICS as FOLDER

LISTS = ("top_items", "log_likelihood", "top_probability")


class Figures(MetricsFile):
    """What the report reads of a metrics file."""

    dataset: str
    target: list[int]
    metrics: dict[str, float]
    parameters: int
    ms_per_1000_users: float


class Artefact(BaseModel):
    """What a run kept of an artefact's manifest.

    stage: What made it, e.g. "teacher: training".
    kind: See `core.artefact.Kind`.
    seconds: That its making took.
    result: What its making found: best figure, steps, learning curve ("curve", see `training.curve`), tokens read.
    tokens_read, num_examples: Of teacher outputs.
    """

    stage: str
    kind: str
    seed: int
    seconds: float
    result: dict[str, Any]
    tokens_read: int | None = None
    num_examples: int | None = None

    @property
    def curve(self) -> list[dict[str, float]]:
        """A point for each validation of a training; none for what was not trained, or kept no curve."""
        return self.result.get("curve", [])


class MadeFrom(BaseModel):
    """What a run kept of all that its models were made from.

    program: Git commit and dirty flag.
    dataset_folder: Of the prepared dataset.
    history_buckets: `metrics.history_buckets`.
    artefacts: By their folders' names.
    """

    program: dict[str, Any]
    dataset_folder: Path
    history_buckets: list[int]
    artefacts: dict[str, Artefact]


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
    made_from: Or None, from before runs kept it.
    dataset: Or None.
    no_dataset: Why there is none, a sentence.
    """

    folder: Path
    name: str
    models: dict[str, Model]
    comparison: Comparison | None
    probe: ProbeResult | None
    seconds: dict[str, float]
    made_from: MadeFrom | None
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

    @property
    def artefacts(self) -> list[Artefact]:
        """What the models were made from, as far as it is known."""
        return [] if self.made_from is None else list(self.made_from.artefacts.values())


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
    made_from = _made_from(metrics / MADE_FROM)
    dataset, why = _dataset(made_from)
    return StoredRun(
        folder,
        name or folder.name,
        models,
        comparison=_comparison(metrics / "comparison.json"),
        probe=_probe(metrics / PROBE),
        seconds=_seconds(metrics / "time.json"),
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
    figures = _validated(Figures, path)
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


Read = TypeVar("Read", bound=BaseModel)


def _validated(kind: type[Read], path: Path) -> Read:
    try:
        return kind.model_validate(read_json(path))
    except ValidationError as error:
        where = ".".join(map(str, error.errors()[0]["loc"])) or "all of it"
        raise UserError(
            f"{path}, {where}: {error.errors()[0]['msg']}; it was changed since the run wrote it: start the run's "
            "command again."
        ) from None


def _made_from(path: Path) -> MadeFrom | None:
    return _validated(MadeFrom, path) if path.is_file() else None


def _comparison(path: Path) -> Comparison | None:
    if not path.is_file():
        return None
    try:
        return comparison_of({"steps": [], **read_json(path)})  # earlier versions told no steps
    except (KeyError, TypeError):
        raise UserError(f"{path} holds no comparison of models: start the run's command again.") from None


def _probe(path: Path) -> ProbeResult | None:
    if not path.is_file():
        return None
    try:
        return probe_result_of(read_json(path))
    except (KeyError, TypeError):
        raise UserError(f"{path} holds no probe of a teacher: start the run's command again.") from None


def _seconds(path: Path) -> dict[str, float]:
    if not path.is_file():
        return {}  # the run made nothing: all was there
    found = read_json(path)
    if not isinstance(found, dict) or not isinstance(found.get("seconds"), dict):
        raise UserError(f"{path} tells no seconds of stages: start the run's command again.")
    return found["seconds"]


def _dataset(made_from: MadeFrom | None) -> tuple[Dataset | None, str]:
    if made_from is None:
        return None, "The run does not say where its prepared dataset lies (it was made by an earlier version)."
    try:
        return Dataset.load(made_from.dataset_folder), ""
    except UserError as error:
        return None, str(error)
