"""Reads what evaluations wrote, and makes sure that the models ranked the same users by the same rules."""

from collections.abc import Sequence
from pathlib import Path

import torch
from pydantic import BaseModel, ConfigDict, PositiveInt, ValidationError

from ..core.artefact import read_json
from ..core.errors import UserError
from .significance import Model

# What must agree for ranks to be comparable, and what it is called.
SAME = {
    "dataset_fingerprint": "the dataset",
    "num_items": "the catalogue",
    "split": "the split",
    "filter_seen": "metrics.filter_seen",
    "example_id": "the users",
}


class MetricsFile(BaseModel):
    """What is read of a metrics file.

    rank: Of each user's target, from 1; `example_id` are the users.
    """

    model_config = ConfigDict(strict=True)

    model: str
    dataset_fingerprint: str
    num_items: PositiveInt
    split: str
    filter_seen: bool
    example_id: list[int]
    rank: list[PositiveInt]


def read_models(runs: Sequence[Path | Sequence[Path]], names: Sequence[str] | None) -> tuple[list[Model], int]:
    """Returns the models and the size of the catalogue that they ranked.

    Args:
        runs: `compare.runs`: a metrics file per model, or a list of them, one per seed.
        names: `compare.names`.

    Raises:
        UserError: There are fewer than two models, a file is missing or no metrics file, the files cannot be compared,
            or names are wrong in number or not different.
    """
    if len(runs) < 2:
        raise UserError("compare.runs needs metrics files of at least two models: compare.runs='[a.json, b.json]'.")
    groups = [[group] if isinstance(group, Path) else list(group) for group in runs]
    twice = [group for group in groups if len(set(group)) < len(group)]
    if twice:
        raise UserError(f"compare.runs names a file twice as seeds of one model: {', '.join(map(str, twice[0]))}.")
    files = {path: _read(path) for group in groups for path in group}
    _check_same(files)
    names = [files[group[0]].model for group in groups] if names is None else names
    if len(names) != len(groups) or len(set(names)) != len(names):
        raise UserError(
            f"The {len(groups)} models of compare.runs would be called {', '.join(map(str, names))}: "
            "give as many different names, compare.names='[…, …]'."
        )
    models = [
        Model(name, [torch.tensor(files[path].rank) for path in group])
        for name, group in zip(names, groups, strict=True)
    ]
    return models, files[groups[0][0]].num_items


def _read(path: Path) -> MetricsFile:
    give = "give metrics/<model>.json of a run"
    try:
        found = read_json(path)
    except FileNotFoundError:
        raise UserError(f"compare.runs names {path}, which is not there: {give}.") from None
    except (UserError, OSError):
        raise UserError(f"compare.runs names {path}, which is not JSON: {give}.") from None
    missing = [key for key in MetricsFile.model_fields if not isinstance(found, dict) or key not in found]
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
    if not file.rank or len(file.rank) != len(file.example_id) or max(file.rank) > file.num_items:
        raise UserError(
            f"{path} must hold a rank from 1 to {file.num_items} for each of its {len(file.example_id)} users: {give} "
            "in compare.runs."
        )
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
