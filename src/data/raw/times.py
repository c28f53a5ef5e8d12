"""Times as people write them → microseconds since 1970. A column is of one unit or format, never guessed row by row."""

from pathlib import Path
from typing import Any

import polars as pl

from ...core.errors import UserError
from .cells import refuse_rows, wrong_row

TICKS = 1_000_000  # of a second
# A number is of the unit under which its column lies between 1973 and 5138; what is smaller are seconds, from -1200.
UNITS = ("seconds", "milliseconds", "microseconds", "nanoseconds")
FIRST_OF_NEXT_UNIT = 10**11
FOUR_DIGITS = r"^\d{4}-"
WRITTEN = {"%Y%m%d": (19000101, 21001231), "%Y%m%d%H%M%S": (19000101000000, 21001231235959)}  # dates, but not ISO's
ISO = tuple(
    f"{date}{zone}"
    for date in ("%Y-%m-%d", "%Y-%m-%d %H:%M", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S%.f")
    for zone in ("", "%#z")
)


class FractionsFoundError(Exception):
    """Nanoseconds that were whole in one part are fractions in another: whole ones are cut, fractions rounded."""


def microseconds(times: pl.Series, path: Path) -> pl.Series:
    """Returns int64 microseconds since 1970 in UTC.

    Args:
        times: Numbers (seconds, milliseconds, microseconds or nanoseconds, one of them throughout), ISO dates (one
            format throughout; without a zone they are UTC), or texts of either; named as in the file.
        path: The file, for messages.

    Raises:
        UserError: A time is missing, is neither, or is of another unit or format than the others.
    """
    column = Times(path)
    found = column.microseconds(times)
    column.close()
    return found


class Times:
    """A column of times that is read part by part. Its first part tells how all are written.

    Args:
        path: The file, for messages.
        fractions: Whether whole numbers in texts are read as fractions are, since some of the column are.
    """

    def __init__(self, path: Path, fractions: bool = False) -> None:
        self.path, self.fractions = path, fractions
        self.before = 0  # rows of the parts that were read
        self.first: Any = None  # the column's first value
        self.unit: int | None = None  # once it is known that the column holds numbers
        self.format: str | None = None  # once it is known that it holds texts of dates
        self.whole: bool | None = None  # whether the numbers so far are whole ones
        self.largest = ""  # of the first part, as messages tell it
        self.written = dict.fromkeys(WRITTEN, True)  # whether all numbers so far are dates written in this way

    def microseconds(self, times: pl.Series) -> pl.Series:
        """Returns the next part as int64 microseconds since 1970 in UTC; takes and raises what `microseconds` does.

        Raises:
            FractionsFoundError: The column has to be read from the top, with `fractions`.
        """
        if not self.before and len(times):
            self.first = times[0]
        found = self._read(times)
        self.before += len(times)
        return found

    def close(self) -> None:
        """Tells what only the whole column tells.

        Raises:
            UserError: All of its times are dates without hyphens.
        """
        if self.unit is not None and any(self.written.values()):
            # 20240131 is a second of August 1970 by its size: days would be seconds, and months one session.
            why = "is a date without hyphens, and no time since 1970: write 2024-01-31"
            raise wrong_row(self.path, 1, self.name, self.first, why, self.before)

    def _read(self, times: pl.Series) -> pl.Series:
        kind, self.name = times.dtype, times.name
        if kind.is_temporal() and kind not in (pl.Time, pl.Duration):
            dates = times
        elif kind == pl.String:
            text = times.str.strip_chars()
            self._refuse(times, (text == "").fill_null(True), "is missing")
            numbers = self._numbers(text)
            if not numbers.has_nulls():
                return self._of_numbers(numbers, times)
            dates = self._of_texts(text, times)
        elif kind.is_integer() or kind.is_float():
            return self._of_numbers(times, times)
        else:
            raise UserError(f"{self.path}: column {times.name} holds {kind}, not times: name another column.")
        self._refuse(times, dates.is_null(), "is missing")
        return dates.cast(pl.Datetime("us")).cast(pl.Int64)

    def _refuse(self, times: pl.Series, wrong: pl.Series, why: str) -> None:
        refuse_rows(self.path, times, wrong, why, self.before)

    def _numbers(self, text: pl.Series) -> pl.Series:
        """Returns texts as numbers, null where one is none or where the column holds dates."""
        if self.format is not None:
            return pl.repeat(None, len(text), dtype=pl.Int64, eager=True)
        numbers = text.cast(pl.Float64 if self.fractions else pl.Int64, strict=False)
        return text.cast(pl.Float64, strict=False) if numbers.has_nulls() else numbers

    def _of_numbers(self, numbers: pl.Series, times: pl.Series) -> pl.Series:
        self._refuse(times, numbers.is_null(), "is missing")
        if numbers.is_empty():
            return numbers.cast(pl.Int64)
        if numbers.dtype.is_integer() and numbers.dtype != pl.UInt64:
            numbers = numbers.cast(pl.Int64)  # what they are held against may not fit into narrower ones
        if numbers.dtype.is_float():
            self._refuse(times, ~numbers.is_finite(), "is no time")
        unit = self._unit_with(numbers, times)
        whole = not numbers.dtype.is_float()
        if unit == 3 and self.whole is (not whole):
            raise FractionsFoundError
        self.unit, self.whole = unit, whole
        for format, (first, last) in WRITTEN.items():
            self.written[format] = self.written[format] and _are_dates(numbers, format, first, last)
        if numbers.dtype.is_float():
            return (numbers.cast(pl.Float64) * TICKS / 1000**unit).round().cast(pl.Int64)
        if numbers.dtype == pl.UInt64:
            self._refuse(times, numbers > 2**63 - 1, "is no time")
            numbers = numbers.cast(pl.Int64)
        return numbers // 1000 if unit == 3 else numbers * (TICKS // 1000**unit)

    def _unit_with(self, numbers: pl.Series, times: pl.Series) -> int:
        """Returns the unit of the column, which these numbers are of, too."""
        place = int(numbers.cast(pl.Float64).abs().arg_max() or 0)  # the smallest int64 has no abs of its own
        row, unit = self.before + place + 1, _unit(numbers[place])
        if unit is None:
            raise UserError(f"{self.path}, data row {row}: {times.name} {times[place]} is no time; mend the row.")
        if self.unit is None:
            self.largest = f"{times[place]} in data row {row}"
        elif unit > self.unit:
            other = f"is no time in {UNITS[unit]}, as {times[place]} in data row {row} is"
            raise wrong_row(self.path, 1, times.name, self.first, other, self.before)
        unit = unit if self.unit is None else self.unit
        if unit:
            other = f"is no time in {UNITS[unit]}, as {self.largest} is"
            self._refuse(times, numbers.abs() < FIRST_OF_NEXT_UNIT * 1000 ** (unit - 1), other)
        return unit

    def _of_texts(self, text: pl.Series, times: pl.Series) -> pl.Series:
        """Tries one format after another on the first text, and reads all texts by the one that fits."""
        first = pl.Series([self.first], dtype=pl.String).str.strip_chars()
        for format in ISO:
            if first.str.to_datetime(format, strict=False, time_unit="us").has_nulls():
                continue
            self.format = format
            dates = text.str.to_datetime(format, strict=False, time_unit="us")
            self._refuse(times, dates.is_null(), f"is not written as {self.first} in data row 1 is")
            # Without this, 05-12-23, which may be any of three dates, would be one of the year 5.
            self._refuse(times, ~text.str.contains(FOUR_DIGITS), "has no year of four digits, as 2024-01-31 has")
            return dates
        if first.cast(pl.Float64, strict=False).has_nulls():
            wrong = pl.Series([True])
        else:
            wrong = text.cast(pl.Float64, strict=False).is_null()
        self._refuse(times, wrong, "is neither a number nor an ISO date (2024-01-31, 2024-01-31T12:00:00Z)")
        raise AssertionError("a text that is wrong was not found")


def _are_dates(numbers: pl.Series, format: str, first: int, last: int) -> bool:
    """Whether all numbers are dates that are written in a format without hyphens."""
    if not numbers.is_between(first, last).all():
        return False
    written = numbers.cast(pl.Int64).cast(pl.String).str.to_datetime(format, strict=False)
    return not written.has_nulls()


def _unit(number: float) -> int | None:
    fits = (unit for unit in range(len(UNITS)) if abs(number) < FIRST_OF_NEXT_UNIT * 1000**unit)
    return next(fits, None)
