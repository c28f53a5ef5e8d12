"""Frames of windows, read from pickled tables, CSV or JSON lines: one row per example."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...core.errors import UserError
from ..raw.cells import Cells
from ..raw.lines import lines_of
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
        there = ", ".join(frame) or "none"
        raise UserError(f"{path} has no column {', '.join(lacks)}; there are {there[:200]}: give a frame of windows.")
    rows = list(zip(*(frame[name] for name in COLUMNS), strict=True))
    parsed = [_row(path, number, *row) for number, row in enumerate(rows, start=1)]
    padding = _padding(path, parsed)
    return [_window(path, number, padding, *row) for number, row in enumerate(parsed, start=1)]


def _columns(path: Path) -> dict[str, list[Any]]:
    if not path.is_file():
        raise UserError(f"There is no {path}: give the frame's path.")
    if path.suffix == ".df":
        return read_pickled_table(path)
    if path.suffix == ".jsonl":
        return _json_columns(path)
    if path.suffix != ".csv":
        raise UserError(f"{path} is none of {', '.join(ENDINGS)}: give a frame as iLoRA or DLLM2Rec write it.")
    cells = Cells(path)
    return cells.read(cells.names).to_dict(as_series=False)


def _json_columns(path: Path) -> dict[str, list[Any]]:
    """Sequences may be of pairs, so that no column has one type."""
    rows: list[dict[str, Any]] = []
    for number, line in enumerate(lines_of(path, "utf-8"), start=1):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        if not isinstance(row, dict) or (rows and row.keys() != rows[0].keys()):
            raise UserError(f"{path}, line {number}, is no JSON object with the keys of line 1: mend the line.")
        rows.append(row)
    return {name: [row[name] for row in rows] for name in rows[0]} if rows else {}


def _row(path: Path, number: int, *cells: Any) -> tuple[list[Item], int, Item]:
    """Returns a row whose values are what they must be; in CSV they are texts."""
    try:
        seq, length, target = (json.loads(cell) if isinstance(cell, str) else cell for cell in cells)
        return [_item(item) for item in seq], _whole(length), _item(target)
    except (TypeError, ValueError, OverflowError):
        told = ", ".join(f"{name} {str(cell)[:60]!r}" for name, cell in zip(COLUMNS, cells, strict=True))
        raise UserError(f"{path}, row {number}: {told} are no window of item numbers: mend the row.") from None


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
