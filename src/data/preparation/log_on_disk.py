"""A log whose columns are files, read part by part; which of its rows are kept."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from ..raw.times import FractionsFoundError
from .columns import Column, pieces
from .names import Names

TYPES = {"user": np.uint32, "item": np.uint32, "timestamp": np.int64, "rating": np.float32, "part": np.int8}
NAMED = ("user", "item")


@dataclass
class LogOnDisk:
    """A log, row by row in the order of its file.

    columns: By what they mean, of `TYPES`; a user or an item is the place of its id in `names`.
    names: Ids in ascending order, by column.
    kept: Of each row whether it is kept: bool.
    rows_at_once: Rows that are in memory together.
    """

    columns: dict[str, Column]
    names: dict[str, pl.Series]
    kept: Column
    rows_at_once: int

    def __len__(self) -> int:
        return len(self.kept)

    def num_kept(self) -> int:
        """Returns how many rows are kept."""
        return sum(int(self.kept.read(rows).sum()) for rows in self.pieces())

    def pieces(self) -> Iterator[slice]:
        """Yields rows that are looked at together."""
        return pieces(len(self), self.rows_at_once)

    def keep(self, which: Callable[[slice], np.ndarray]) -> int:
        """Keeps the rows that are kept already and for which `which(rows)` is true; returns how many go."""
        gone = 0
        for rows in self.pieces():
            before = self.kept.read(rows)
            after = before & which(rows)
            gone += int(before.sum()) - int(after.sum())
            self.kept.write(rows.start, after)
        return gone

    def keep_ids(self, column: str, which: np.ndarray) -> int:
        """Keeps the rows of users or items for which `which` is true; returns how many go."""
        return self.keep(lambda rows: which[self.columns[column].read(rows)])

    def counts(self) -> dict[str, np.ndarray]:
        """Returns how many rows of each user and each item are kept, int64, by column."""
        counts = {column: np.zeros(len(self.names[column]), np.int64) for column in NAMED}
        for rows in self.pieces():
            kept = self.kept.read(rows)
            for column, found in counts.items():
                found += np.bincount(self.columns[column].read(rows)[kept], minlength=len(found))
        return counts

    def core(self, least: dict[str, int]) -> dict[str, np.ndarray]:
        """Keeps the largest part in which every user and every item has its least number of rows, as
        `core.data_utils.k_core`; returns `counts`.
        """
        counts = self.counts()
        limits = {column: number for column, number in least.items() if number > 1}
        while any([self.keep_ids(column, counts[column] >= number) for column, number in limits.items()]):
            counts = self.counts()
        return counts


def read_log(parts: Callable[[bool], Iterator[pl.DataFrame]], folder: Path, rows_at_once: int) -> LogOnDisk:
    """Writes a log's columns to files.

    Args:
        parts: Given whether fractions are known to come (`raw.times.Times`), yields the log part by part as
            `raw.columns.log_parts`.
        folder: Where the files lie.
        rows_at_once: See `LogOnDisk`.

    Raises:
        UserError: The log is faulty.
    """
    try:
        return _read(parts(False), folder, rows_at_once)
    except FractionsFoundError:
        return _read(parts(True), folder, rows_at_once)


def _read(parts: Iterator[pl.DataFrame], folder: Path, rows_at_once: int) -> LogOnDisk:
    columns: dict[str, Column] = {}
    names = {column: Names(folder, column) for column in NAMED}
    lengths = []
    for part in parts:
        columns = columns or {name: Column(folder / name, TYPES[name]) for name in TYPES if name in part.columns}
        for name, column in columns.items():
            column.append(names[name].add(part[name]) if name in NAMED else part[name].to_numpy())
        lengths.append(len(part))
    joined = {name: each.joined() for name, each in names.items()}
    for name, each in names.items():
        first = 0
        for length, place in zip(lengths, each.places(joined[name]), strict=True):
            for rows in pieces(length, rows_at_once):
                within = slice(first + rows.start, first + rows.stop)
                columns[name].write(within.start, place[columns[name].read(within)])
            first += length
    kept = Column(folder / "kept", bool)
    for rows in pieces(sum(lengths), rows_at_once):
        kept.append(np.ones(rows.stop - rows.start, bool))
    return LogOnDisk(columns, joined, kept, rows_at_once)
