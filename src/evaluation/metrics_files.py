"""Reads what evaluations wrote, and makes sure that the models ranked the same interactions by the same rules."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from pydantic import BaseModel, ConfigDict, Field, PositiveInt, ValidationError
from torch import Tensor

from ..core.artefact import read_json
from ..core.errors import UserError
from .significance import Model

# What must agree for ranks to be comparable, and what it is called.
SAME = {
    "dataset_fingerprint": "the dataset",
    "num_items": "the catalogue",
    "split": "the split",
    "filter_seen": "metrics.filter_seen",
    "example_id": "the examples",
    "user": "the users",
}


class Training(BaseModel):
    """Of what a model's seed is, that seed, a digest of its settings and those of the artefacts it was made from."""

    model_config = ConfigDict(strict=True, frozen=True)

    of: str
    seed: int
    settings: str
    sources: dict[str, str] = Field(alias="from")


class MetricsFile(BaseModel):
    """What is read of a metrics file.

    rank: Of each example's target, from 1.
    training: Of the model; None where nothing was trained.
    """

    model_config = ConfigDict(strict=True)

    model: str
    dataset_fingerprint: str
    num_items: PositiveInt
    split: str
    filter_seen: bool
    example_id: list[int]
    user: list[int]
    rank: list[PositiveInt]
    training: Training | None = None


@dataclass(frozen=True)
class Ranked:
    """What several models made of the same examples.

    user: `[n]` int64, whose the examples are.
    num_items: Size of the catalogue that they ranked.
    """

    models: list[Model]
    user: Tensor
    num_items: int


def read_models(runs: Sequence[Path | Sequence[Path]], names: Sequence[str] | None) -> Ranked:
    """Returns the models.

    Args:
        runs: `compare.runs`: a metrics file per model, or a list of them, one per training.
        names: `compare.names`.

    Raises:
        UserError: There are fewer than two models, a file is missing or no metrics file, the files cannot be compared,
            one model's files are not trainings of one model, or names are wrong in number or not different.
    """
    if len(runs) < 2:
        raise UserError("compare.runs needs metrics files of at least two models: compare.runs='[a.json, b.json]'.")
    groups = [[group] if isinstance(group, Path) else list(group) for group in runs]
    files = {path: _read(path) for group in groups for path in group}
    _check_same(files)
    trainings = [_trainings({path: files[path] for path in group}, group) for group in groups]
    names = [files[group[0]].model for group in groups] if names is None else names
    if len(names) != len(groups) or len(set(names)) != len(names):
        raise UserError(
            f"The {len(groups)} models of compare.runs would be called {', '.join(map(str, names))}: "
            "give as many different names, compare.names='[…, …]'."
        )
    models = [
        Model(name, [torch.tensor(files[path].rank) for path in group], told)
        for name, group, told in zip(names, groups, trainings, strict=True)
    ]
    first = files[groups[0][0]]
    return Ranked(models, torch.tensor(first.user), first.num_items)


def _read(path: Path) -> MetricsFile:
    give = "give metrics/<model>.json of a run"
    try:
        found = read_json(path)
    except FileNotFoundError:
        raise UserError(f"compare.runs names {path}, which is not there: {give}.") from None
    except (UserError, OSError):
        raise UserError(f"compare.runs names {path}, which is not JSON: {give}.") from None
    found = found if isinstance(found, dict) else {}
    missing = [key for key, field in MetricsFile.model_fields.items() if field.is_required() and key not in found]
    if missing:
        raise UserError(f"{path} lacks {', '.join(missing)}: {give} in compare.runs.")
    try:
        file = MetricsFile.model_validate(found)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise UserError(
            f"{path}, {where}={str(first['input'])[:40]}: {first['msg']}; {give} in compare.runs."
        ) from None
    if not file.rank or max(file.rank) > file.num_items:
        raise UserError(f"{path} must hold ranks from 1 to {file.num_items}: {give} in compare.runs.")
    lengths = {key: len(getattr(file, key)) for key in ("example_id", "user", "rank")}
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{length:,} of {key}" for key, length in lengths.items())
        raise UserError(f"{path} holds {told}, and each example has one: it was cut or changed, evaluate again.")
    return file


def _check_same(files: dict[Path, MetricsFile]) -> None:
    (first_path, first), *others = files.items()
    for path, file in others:
        differ = [words for key, words in SAME.items() if getattr(file, key) != getattr(first, key)]
        if differ:
            raise UserError(
                f"{first_path} and {path} cannot be compared, they differ in {', '.join(differ)}: evaluate both models "
                "with the same dataset and the same metrics.filter_seen."
            )


def _trainings(files: dict[Path, MetricsFile], group: Sequence[Path]) -> str | None:
    """Returns what varied between the files of one model, in words; None where there is one file.

    Raises:
        UserError: They are of several models, or a training stands among them twice.
    """
    if len(group) == 1:
        return None
    models = sorted({file.model for file in files.values()})
    if len(models) > 1:
        raise UserError(
            f"A list in compare.runs holds {' and '.join(models)}, and the files of a list are averaged: put into it "
            "one model, trained several times."
        )
    seen: dict[str, Path] = {}
    for path in group:
        training = files[path].training
        told = str(path) if training is None else str(training)
        if told in seen:
            raise UserError(
                f"{seen[told]} and {path} have the same seed and the same teacher, and would count twice in "
                "compare.runs: give files of different trainings."
            )
        seen[told] = path
    first = group[0]
    for path in group:
        one, other = files[first].training, files[path].training
        if one is not None and other is not None and one.settings != other.settings:
            raise UserError(
                f"{first} and {path} are of models with different settings, and the files of a list in compare.runs "
                "are averaged: put into it one model, trained several times."
            )
    trainings = [file.training for file in files.values() if file.training is not None]
    if len(trainings) < len(group):
        return f"{len(group)} trainings"  # files from before seeds were kept in them
    return what_varied(trainings)


def what_varied(trainings: Sequence[Training]) -> str:
    """Returns what differs between trainings of one model: "3 student seeds, one teacher", "3 seeds of student and
    teacher".
    """
    of, seeds = trainings[0].of, {each.seed for each in trainings}
    by = " and ".join(sorted({name for each in trainings for name in each.sources}))
    sources = {str(sorted(each.sources.items())) for each in trainings}
    if len(seeds) == len(sources) == len(trainings):
        return f"{len(seeds)} seeds of {of} and {by}"
    own = f"{len(seeds)} {of} seeds" if len(seeds) > 1 else f"one {of} seed"
    return own if not by else f"{own}, one {by}" if len(sources) == 1 else f"{own}, {len(sources)} {by}s"
