"""Columns of numbers as files, read and written by row.

Files are read and written, not mapped: what is mapped stays in the process's resident memory until the system wants it.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

DIGIT = 16  # bits


class Column:
    """Numbers of one kind in a file of its own, at first none.

    Args:
        path: The file; made anew.
        dtype: Of the numbers.
    """

    def __init__(self, path: Path, dtype: Any) -> None:
        self.path, self.dtype, self.length = path, np.dtype(dtype), 0
        self.file = path.open("w+b", buffering=0)

    def __len__(self) -> int:
        return self.length

    def append(self, numbers: np.ndarray) -> None:
        """Writes numbers behind the last row."""
        self.write(self.length, numbers)

    def write(self, first: int, numbers: np.ndarray) -> None:
        """Writes numbers over the rows from `first` on."""
        self.file.seek(first * self.dtype.itemsize)
        np.ascontiguousarray(numbers, dtype=self.dtype).tofile(self.file)
        self.length = max(self.length, first + len(numbers))

    def read(self, rows: slice) -> np.ndarray:
        """Returns the numbers of rows."""
        first, end, _ = rows.indices(self.length)
        self.file.seek(first * self.dtype.itemsize)
        return np.fromfile(self.file, self.dtype, end - first)

    def delete(self) -> None:
        """Removes the file."""
        self.file.close()
        self.path.unlink()


def pieces(length: int, rows: int) -> Iterator[slice]:
    """Yields slices of at most `rows` rows that cover `length` of them."""
    return (slice(first, min(first + rows, length)) for first in range(0, length, rows))


class Ordered:
    """What a column would hold if it were sorted, by place; found by counting, 16 bits a pass.

    Args:
        column: int64, at least one number.
        rows: How many are looked at together.
    """

    def __init__(self, column: Column, rows: int) -> None:
        self.column, self.rows = column, rows

    def __len__(self) -> int:
        return len(self.column)

    def __getitem__(self, place: int) -> int:
        """Returns the number at a place of the sorted column; -1 is the last."""
        left, found = place % len(self), 0
        for shift in range(64 - DIGIT, -1, -DIGIT):
            counts = np.zeros(1 << DIGIT, np.int64)
            for rows in pieces(len(self), self.rows):
                number = self.column.read(rows).view(np.uint64) ^ np.uint64(1 << 63)  # ordered as the signed ones are
                if shift < 64 - DIGIT:
                    number = number[number >> np.uint64(shift + DIGIT) == found]
                digit = (number >> np.uint64(shift)) & np.uint64((1 << DIGIT) - 1)
                counts += np.bincount(digit.astype(np.int64), minlength=1 << DIGIT)
            below = counts.cumsum()
            digit_found = int(below.searchsorted(left, side="right"))
            left -= int(below[digit_found] - counts[digit_found])
            found = found << DIGIT | digit_found
        return found - (1 << 63)
