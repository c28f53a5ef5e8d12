"""Reads what evaluations wrote, and makes sure that the models ranked the same users by the same rules."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

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
    files = {path: _read(path) for group in groups for path in group}
    _check_same(files)
    names = [files[group[0]]["model"] for group in groups] if names is None else names
    if len(names) != len(groups) or len(set(names)) != len(names):
        raise UserError(
            f"The {len(groups)} models of compare.runs would be called {', '.join(map(str, names))}: "
            "give as many different names, compare.names='[…, …]'."
        )
    models = [
        Model(name, [torch.tensor(files[path]["rank"]) for path in group])
        for name, group in zip(names, groups, strict=True)
    ]
    return models, files[groups[0][0]]["num_items"]


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
