"""Reads what evaluations wrote, and makes sure that the models ranked the same interactions by the same rules."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

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
    names = [files[group[0]]["model"] for group in groups] if names is None else names
    if len(names) != len(groups) or len(set(names)) != len(names):
        raise UserError(
            f"The {len(groups)} models of compare.runs would be called {', '.join(map(str, names))}: "
            "give as many different names, compare.names='[…, …]'."
        )
    models = [
        Model(name, [torch.tensor(files[path]["rank"]) for path in group], told)
        for name, group, told in zip(names, groups, trainings, strict=True)
    ]
    first = files[groups[0][0]]
    return Ranked(models, torch.tensor(first["user"]), first["num_items"])


def _read(path: Path) -> dict[str, Any]:
    try:
        file = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"compare.runs names {path}, which is not there: give metrics/<model>.json of a run.") from None
    except (json.JSONDecodeError, UnicodeDecodeError, IsADirectoryError):
        raise UserError(f"compare.runs names {path}, which is not JSON: give metrics/<model>.json of a run.") from None
    missing = [key for key in ("model", *SAME, "rank") if not isinstance(file, dict) or key not in file]
    if missing:
        raise UserError(f"{path} lacks {', '.join(missing)}: give metrics/<model>.json of a run in compare.runs.")
    lengths = {key: len(file[key]) for key in ("example_id", "user", "rank")}
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{length:,} of {key}" for key, length in lengths.items())
        raise UserError(f"{path} holds {told}, and each example has one: it was cut or changed, evaluate again.")
    return file


def _check_same(files: dict[Path, dict[str, Any]]) -> None:
    (first_path, first), *others = files.items()
    for path, file in others:
        differ = [words for key, words in SAME.items() if file[key] != first[key]]
        if differ:
            raise UserError(
                f"{first_path} and {path} cannot be compared, they differ in {', '.join(differ)}: evaluate both models "
                "with the same dataset and the same metrics.filter_seen."
            )


def _trainings(files: dict[Path, dict[str, Any]], group: Sequence[Path]) -> str | None:
    """Returns what varied between the files of one model, in words; None where there is one file.

    Raises:
        UserError: They are of several models, or a training stands among them twice.
    """
    if len(group) == 1:
        return None
    models = sorted({str(file["model"]) for file in files.values()})
    if len(models) > 1:
        raise UserError(
            f"A list in compare.runs holds {' and '.join(models)}, and the files of a list are averaged: put into it "
            "one model, trained several times."
        )
    seen: dict[str, Path] = {}
    for path in group:
        training = json.dumps(files[path].get("training") or str(path), sort_keys=True)
        if training in seen:
            raise UserError(
                f"{seen[training]} and {path} have the same seed and the same teacher, and would count twice in "
                "compare.runs: give files of different trainings."
            )
        seen[training] = path
    told = [file.get("training") for file in files.values()]
    if not all(told):
        return f"{len(group)} trainings"  # files from before seeds were kept in them
    return _varied(told)


def _varied(trainings: Sequence[Any]) -> str:
    """Returns e.g. "3 student seeds, one teacher", or "3 seeds of student and teacher"."""
    (of, *_), seeds = {each["of"] for each in trainings}, {each["seed"] for each in trainings}
    above = sorted({name for each in trainings for name in each["from"]})
    by = " and ".join(above)
    sources = {json.dumps(each["from"], sort_keys=True) for each in trainings}
    if len(seeds) == len(sources) == len(trainings):
        return f"{len(seeds)} seeds of {of} and {by}"
    own = f"{len(seeds)} {of} seeds" if len(seeds) > 1 else f"one {of} seed"
    return own if not above else f"{own}, one {by}" if len(sources) == 1 else f"{own}, {len(sources)} {by}s"
