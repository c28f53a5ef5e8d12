"""Ids of a column that is read part by part → numbers in the order of the ids."""

from collections.abc import Iterator
from pathlib import Path
from typing import cast

import numpy as np
import polars as pl

LEAST_JOINED = 1_000_000  # ids that wait to be joined to the others


class Names:
    """The ids of a column. Each part calls its own by their places among its own, until all are known.

    Args:
        folder: Where the parts' ids lie.
        column: What the column is called.
    """

    def __init__(self, folder: Path, column: str) -> None:
        self.folder, self.column = folder, column
        self.num_parts, self.waiting = 0, 0
        self.known: list[pl.Series] = [pl.Series(column, [], dtype=pl.String)]

    def add(self, ids: pl.Series) -> np.ndarray:
        """Takes the next part's ids, an Enum of the ids that it holds; returns their places among these, uint32."""
        names = cast("pl.Enum", ids.dtype).categories.alias(self.column)
        names.to_frame().write_parquet(self._path(self.num_parts), compression="lz4")
        self.num_parts += 1
        self.known.append(names)
        self.waiting += len(names)
        if self.waiting > max(LEAST_JOINED, len(self.known[0])):  # each id is looked at a few times
            self._join()
        return ids.to_physical().cast(pl.UInt32).to_numpy()

    def joined(self) -> pl.Series:
        """Returns all ids in ascending order."""
        self._join()
        return self.known[0].sort()

    def places(self, joined: pl.Series) -> Iterator[np.ndarray]:
        """Yields, part by part, the places of its ids among all."""
        known = pl.Enum(joined)
        for part in range(self.num_parts):
            names = pl.read_parquet(self._path(part))[self.column]
            yield names.cast(known).to_physical().cast(pl.UInt32).to_numpy()
            self._path(part).unlink()

    def _join(self) -> None:
        self.known, self.waiting = [pl.concat(self.known).unique()], 0

    def _path(self, part: int) -> Path:
        return self.folder / f"{self.column}-ids-{part}.parquet"
