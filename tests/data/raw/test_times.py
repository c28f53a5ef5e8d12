import datetime as dt
from pathlib import Path

import polars as pl
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from src.core.errors import UserError
from src.data.raw.times import FIRST_OF_NEXT_UNIT, TICKS, UNITS, microseconds

PATH = Path("log.csv")
NEW_YEAR = 1_704_067_200  # 2024-01-01 in UTC


def read(*times: object, dtype=None) -> list[int]:
    return microseconds(pl.Series("when", times, dtype=dtype, strict=False), PATH).to_list()


@pytest.mark.parametrize("as_text", [False, True])
@pytest.mark.parametrize(("unit", "per_second"), list(zip(UNITS, (1, 10**3, 10**6, 10**9), strict=True)))
def test_the_unit_of_a_column_is_told_by_its_size(unit, per_second, as_text):
    times = [NEW_YEAR * per_second, (NEW_YEAR + 90) * per_second]
    assert read(*map(str, times) if as_text else times) == [NEW_YEAR * TICKS, (NEW_YEAR + 90) * TICKS]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2024-01-01", 0),
        ("2024-01-01 00:01", 60),
        ("2024-01-01 00:01:30", 90),
        ("2024-01-01T00:01:30", 90),
        ("2024-01-01T00:01:30.25", 90.25),
        ("2024-01-01T00:01:30Z", 90),
        ("2024-01-01T09:01:30+09:00", 90),
        ("2024-01-01 09:01:30+0900", 90),
        ("1704067290", 90),
        ("1704067290.0", 90),
        ("1704067290.25", 90.25),
        ("1.70406729e9", 90),
        (" 1704067290 ", 90),
    ],
)
def test_dates_and_numbers_worked_by_hand(text, expected):
    assert read(text, text) == [NEW_YEAR * TICKS + round(expected * TICKS)] * 2


def test_times_that_have_a_type_keep_it():
    in_tokyo = dt.timezone(dt.timedelta(hours=9))
    assert read(dt.date(2024, 1, 1)) == [NEW_YEAR * TICKS]
    assert read(dt.datetime(2024, 1, 1, 9, tzinfo=in_tokyo)) == [NEW_YEAR * TICKS]
    assert read(NEW_YEAR + 0.5) == [NEW_YEAR * TICKS + TICKS // 2]


@pytest.mark.parametrize("dtype", [pl.Int8, pl.UInt16, pl.Int32, pl.UInt32, pl.UInt64])
def test_whole_numbers_of_any_width_are_times(dtype):
    assert read(100, 101, dtype=dtype) == [100 * TICKS, 101 * TICKS]


def test_what_is_too_large_for_a_whole_number_is_no_time():
    with pytest.raises(UserError, match="data row 1: when '9223372036854775808' is no time"):
        read(2**63, dtype=pl.UInt64)


def test_small_and_negative_numbers_are_seconds():
    assert read(-5, 0, 300) == [-5 * TICKS, 0, 300 * TICKS]


def test_times_of_single_precision_are_not_rounded_once_more():
    assert read(1_600_000_000, 1_600_000_128, dtype=pl.Float32) == [1_600_000_000 * TICKS, 1_600_000_128 * TICKS]


def test_a_time_long_before_1970_is_of_the_unit_of_the_others():
    assert read(-428720400000, NEW_YEAR * 1000) == [-428720400 * TICKS, NEW_YEAR * TICKS]  # HetRec's LastFM has some


@given(st.lists(st.integers(-FIRST_OF_NEXT_UNIT + 1, FIRST_OF_NEXT_UNIT - 1), min_size=1))
def test_seconds_keep_their_order_whether_written_as_numbers_or_texts(times):
    assume(not all(19000101 <= time <= 21001231 for time in times))  # which may be dates without hyphens
    assert read(*times) == read(*map(str, times)) == [time * TICKS for time in times]


@pytest.mark.parametrize(
    ("times", "message"),
    [
        ((NEW_YEAR * 1000, NEW_YEAR), "data row 2: when '1704067200' is no time in milliseconds, as 1704067200000 in"),
        ((NEW_YEAR * 1000, 0), "data row 2: when '0' is no time in milliseconds"),
        (("2024-01-31", "2024-02-30"), "data row 2: when '2024-02-30' is not written as 2024-01-31 in data row 1"),
        (("2024-01-01 10:00", "2024-01-01"), "data row 2: .* is not written as"),
        (("2024-01-01", "1704067200"), "data row 2: .* is not written as"),
        (("1704067200", "2024-01-01"), "data row 2: .* is neither a number nor an ISO date"),
        (("31/01/2024", "1"), "data row 1: .* is neither a number nor an ISO date"),
        (("", "5"), "data row 1: when '' is missing"),
        ((5, None, None), r"data row 2: when is missing \(2 such rows\)"),
        (("nan", "5"), "data row 1: when 'nan' is no time"),
        ((float("inf"), 5.0), "data row 1: when 'inf' is no time"),
        (("9" * 30, "5"), "data row 1: when 9+ is no time"),
        ((-(2**63), 5), "data row 1: when .* is no time in nanoseconds|data row 1: when -9223372036854775808"),
        ((True, False), "column when holds Boolean, not times"),
        (("05-12-23", "06-11-23"), "data row 1: when '05-12-23' has no year of four digits"),  # 5 December or 23 May
        (("2024-01-31", "12024-02-01"), "data row 2: when '12024-02-01' is not written as|has no year of four digits"),
        ((20240131, 20240201), "data row 1: when '20240131' is a date without hyphens"),
        (("20240131235959", "20240201000000"), "data row 1: when '20240131235959' is a date without hyphens"),
    ],
)
def test_a_time_that_is_none_or_of_another_unit_is_named(times, message):
    with pytest.raises(UserError, match=message) as caught:
        read(*times)
    assert str(caught.value).startswith("log.csv") and "\n" not in str(caught.value)
