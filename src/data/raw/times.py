"""Times as people write them → microseconds since 1970. A column is of one unit or format, never guessed row by row."""

from pathlib import Path

import polars as pl

from ...core.errors import UserError
from .cells import refuse_rows

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


def microseconds(times: pl.Series, path: Path) -> pl.Series:
    """Returns int64 microseconds since 1970 in UTC.

    Args:
        times: Numbers (seconds, milliseconds, microseconds or nanoseconds, one of them throughout), ISO dates (one
            format throughout; without a zone they are UTC), or texts of either; named as in the file.
        path: The file, for messages.

    Raises:
        UserError: A time is missing, is neither, or is of another unit or format than the others.
    """
    kind = times.dtype
    if kind.is_temporal() and kind not in (pl.Time, pl.Duration):
        dates = times
    elif kind == pl.String:
        text = times.str.strip_chars()
        refuse_rows(path, times, (text == "").fill_null(True), "is missing")
        numbers = text.cast(pl.Int64, strict=False)
        if numbers.has_nulls():
            numbers = text.cast(pl.Float64, strict=False)
        if not numbers.has_nulls():
            return _of_numbers(numbers, times, path)
        dates = _of_texts(text, times, path)
    elif kind.is_integer() or kind.is_float():
        return _of_numbers(times, times, path)
    else:
        raise UserError(f"{path}: column {times.name} holds {kind}, not times: name another column.")
    refuse_rows(path, times, dates.is_null(), "is missing")
    return dates.cast(pl.Datetime("us")).cast(pl.Int64)


def _of_numbers(numbers: pl.Series, times: pl.Series, path: Path) -> pl.Series:
    refuse_rows(path, times, numbers.is_null(), "is missing")
    if numbers.is_empty():
        return numbers.cast(pl.Int64)
    if numbers.dtype.is_float():
        refuse_rows(path, times, ~numbers.is_finite(), "is no time")
    largest = int(numbers.cast(pl.Float64).abs().arg_max() or 0)  # the smallest int64 has no abs of its own
    unit = _unit(numbers[largest])
    if unit is None:
        raise UserError(f"{path}, data row {largest + 1}: {times.name} {times[largest]} is no time; mend the row.")
    _refuse_written_dates(numbers, times, path)
    least = FIRST_OF_NEXT_UNIT * 1000 ** (unit - 1)
    if unit:
        other = f"is no time in {UNITS[unit]}, as {times[largest]} in data row {largest + 1} is"
        refuse_rows(path, times, numbers.abs() < least, other)
    if numbers.dtype.is_float():
        return (numbers.cast(pl.Float64) * TICKS / 1000**unit).round().cast(pl.Int64)
    if numbers.dtype == pl.UInt64:
        refuse_rows(path, times, numbers > 2**63 - 1, "is no time")
    numbers = numbers.cast(pl.Int64)
    return numbers // 1000 if unit == 3 else numbers * (TICKS // 1000**unit)


def _refuse_written_dates(numbers: pl.Series, times: pl.Series, path: Path) -> None:
    """20240131 is a second of August 1970 by its size: days would be seconds, and months one session."""
    for format, (first, last) in WRITTEN.items():
        if not numbers.is_between(first, last).all():
            continue
        written = numbers.cast(pl.Int64).cast(pl.String).str.to_datetime(format, strict=False).is_not_null()
        if written.all():
            refuse_rows(path, times, written, "is a date without hyphens, and no time since 1970: write 2024-01-31")


def _unit(number: float) -> int | None:
    fits = (unit for unit in range(len(UNITS)) if abs(number) < FIRST_OF_NEXT_UNIT * 1000**unit)
    return next(fits, None)


def _of_texts(text: pl.Series, times: pl.Series, path: Path) -> pl.Series:
    """Tries one format after another on the first text, and reads all texts by the one that fits."""
    for format in ISO:
        if text[:1].str.to_datetime(format, strict=False, time_unit="us").has_nulls():
            continue
        dates = text.str.to_datetime(format, strict=False, time_unit="us")
        refuse_rows(path, times, dates.is_null(), f"is not written as {times[0]} in data row 1 is")
        # Without this, 05-12-23, which may be any of three dates, would be one of the year 5.
        refuse_rows(path, times, ~text.str.contains(FOUR_DIGITS), "has no year of four digits, as 2024-01-31 has")
        return dates
    if text[:1].cast(pl.Float64, strict=False).has_nulls():
        wrong = pl.Series([True])
    else:
        wrong = text.cast(pl.Float64, strict=False).is_null()
    refuse_rows(path, times, wrong, "is neither a number nor an ISO date (2024-01-31, 2024-01-31T12:00:00Z)")
    raise AssertionError("a text that is wrong was not found")
