"""Frames of windows, read from pickled tables, CSV or JSON lines: one row per example."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from ...core.errors import UserError
from .pickled_table import read_pickled_table

COLUMNS = ("seq", "len_seq", "next")
ENDINGS = (".df", ".csv", ".jsonl")
Item = int | tuple[int, float]  # an item's number, in iLoRA's MovieLens with the rating it got


@dataclass(frozen=True)
class Window:
    """One example.

    history: Oldest first, without padding; empty where a user's first item is the target.
    """

    history: tuple[Item, ...]
    target: Item


def read_windows(path: Path) -> list[Window]:
    """Returns the rows of a frame; padding is what sequences shorter than the longest end with.

    iLoRA stores an empty history as one of length 1 that holds padding alone.

    Raises:
        UserError: The file is missing, of another kind, lacks a column, or a row is no window.
    """
    frame = _columns(path)
    lacks = [name for name in COLUMNS if name not in frame]
    if lacks:
        raise UserError(f"{path} has no column {', '.join(lacks)} but {', '.join(frame)}: give a frame of windows.")
    rows = list(zip(*(frame[name] for name in COLUMNS), strict=True))
    parsed = [_row(path, number, *row) for number, row in enumerate(rows, start=1)]
    padding = _padding(path, parsed)
    return [_window(path, number, padding, *row) for number, row in enumerate(parsed, start=1)]


def _columns(path: Path) -> dict[str, list[Any]]:
    if not path.is_file():
        raise UserError(f"There is no {path}: give the frame's path.")
    if path.suffix == ".df":
        return read_pickled_table(path)
    if path.suffix not in ENDINGS:
        raise UserError(f"{path} is none of {', '.join(ENDINGS)}: give a frame as iLoRA or DLLM2Rec write it.")
    try:
        table = pl.read_csv(path) if path.suffix == ".csv" else pl.read_ndjson(path, infer_schema_length=None)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise UserError(f"{path} cannot be read ({str(error).splitlines()[0]}): copy it again.") from None
    return table.to_dict(as_series=False)


def _row(path: Path, number: int, seq: Any, length: Any, target: Any) -> tuple[list[Item], int, Item]:
    """Returns a row whose values are what they must be; in CSV a sequence is a text."""
    try:
        items = json.loads(seq) if isinstance(seq, str) else seq
        return [_item(item) for item in items], int(length), _item(target)
    except (TypeError, ValueError):
        raise UserError(
            f"{path}, row {number}: seq {str(seq)[:60]!r}, len_seq {length!r}, next {str(target)[:40]!r} are no window "
            "of item numbers: mend the row."
        ) from None


def _item(value: Any) -> Item:
    if isinstance(value, list):
        number, rating = value
        return _whole(number), float(rating)
    return _whole(value)


def _whole(value: Any) -> int:
    if value != int(value):
        raise ValueError("no whole number")
    return int(value)


def _padding(path: Path, rows: list[tuple[list[Item], int, Item]]) -> Item | None:
    """Returns what stands behind the items of every shorter history, or None where none is shorter."""
    found = {item for seq, length, _ in rows for item in seq[length:]}
    if len(found) > 1:
        some = ", ".join(map(str, sorted(found, key=str)[:3]))
        raise UserError(
            f"{path} has several items behind the end of histories ({some}), where padding alone should be: is len_seq "
            "right?"
        )
    return next(iter(found), None)


def _window(path: Path, number: int, padding: Item | None, seq: list[Item], length: int, target: Item) -> Window:
    history = tuple(seq[:length])
    if padding is not None and history == (padding,):
        history = ()
    if not 0 <= length <= len(seq) or padding in (*history, target):
        raise UserError(f"{path}, row {number}: padding ({padding}) stands among {length} items: mend the row.")
    return Window(history, target)
