"""Tables of one's own with any bytes in them: read as a literal reader reads them, or refused."""

import csv
import io
import json
import re
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.data.raw.columns import read_log
from tests.data.own_logs import own
from tests.data.raw.test_wrong_bytes import PROFILE, read, spoilt

CSV = b'user,item,timestamp\nu1,00123,1700000300\nu2,"a, ""b""",1700000100\nu1,7,1700000200\nu2,00123,1700000400\n'
TSV = CSV.replace(b'"a, ""b"""', b'"a" b').replace(b",", b"\t")
JSON = "".join(
    json.dumps({"user": user, "item": item, "timestamp": 1_700_000_000 + place}) + "\n"
    for place, (user, item) in enumerate([("u1", "00123"), (7, 'a, "b"'), ("u1", -7), ("ü", "x")])
).encode()
Row = tuple[str, str, int]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("own")


def ours(path: Path) -> list[Row]:
    log = read_log(path, own(path))
    return log.with_columns(pl.col("user", "item").cast(pl.String), pl.col("timestamp")).rows()


def literal_table(content: bytes, separator: str) -> list[Row] | None:
    """Row by row and cell by cell; None where anything is not as docs/own_data.md says."""
    if not content.endswith(b"\n"):
        return None
    try:
        text = content.removeprefix(b"\xef\xbb\xbf").decode().rstrip("\r\n") + "\n"
        quoting = csv.QUOTE_MINIMAL if separator == "," else csv.QUOTE_NONE
        header, *rows = csv.reader(io.StringIO(text, newline=""), delimiter=separator, quoting=quoting, strict=True)
    except (ValueError, csv.Error):
        return None
    names = [name.partition(":")[0] for name in header]
    if any(names.count(name) != 1 for name in ("user", "item", "timestamp")):
        return None
    if any(len(row) != len(header) for row in rows):
        return None
    return literal_cells([{name: row[names.index(name)] for name in names} for row in rows])


def literal_json(content: bytes) -> list[Row] | None:
    if not content.endswith(b"\n"):
        return None
    try:
        lines = content.removeprefix(b"\xef\xbb\xbf").decode().split("\n")
        first_counts = lambda pairs: dict(reversed(pairs))  # noqa: E731 (of two values of one key)
        objects = [json.loads(line, object_pairs_hook=first_counts) for line in lines if line.strip()]
    except ValueError:
        return None
    if not all(isinstance(one, dict) for one in objects):
        return None
    return literal_cells([{name: as_text(value) for name, value in one.items()} for one in objects])


def as_text(value: object) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # JSON does not tell 1.0 from 1
    return value if isinstance(value, str) else "" if value is None else json.dumps(value, ensure_ascii=False)


def literal_cells(cells: list[dict[str, str]]) -> list[Row] | None:
    rows = []
    for cell in cells:
        user, item, time = (cell.get(name, "") for name in ("user", "item", "timestamp"))
        try:
            when = round(float(time) * 1_000_000)
        except (ValueError, OverflowError):
            return None
        if (
            not user.strip()
            or not item.strip()
            or any(re.search(r"[\x00-\x08\x0a-\x1f\x7f-\x9f]", i) for i in (user, item))
        ):
            return None
        rows.append((user, item, when))
    return rows


@pytest.mark.parametrize("content", [CSV, TSV, JSON])
def test_the_literal_readers_read_what_is_right(content, folder):
    name = "log.csv" if content == CSV else "log.tsv" if content == TSV else "log.jsonl"
    literal = literal_json(content) if content == JSON else literal_table(content, "," if content == CSV else "\t")
    assert read(ours, folder / name, content) == literal
    assert literal is not None and len(literal) == 4


@PROFILE
@given(spoilt(CSV))
def test_a_csv_is_read_as_it_stands_or_refused(folder, content):
    found = read(ours, folder / "log.csv", content)
    assert found is None or found == literal_table(content, ",")


@PROFILE
@given(spoilt(TSV))
def test_a_tsv_is_read_as_it_stands_or_refused(folder, content):
    found = read(ours, folder / "log.tsv", content)
    assert found is None or found == literal_table(content, "\t")


@PROFILE
@given(spoilt(JSON))
def test_json_lines_are_read_as_they_stand_or_refused(folder, content):
    found = read(ours, folder / "log.jsonl", content)
    assert found is None or found == literal_json(content)


CELL = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1).filter(str.strip)


@PROFILE
@given(st.lists(st.tuples(CELL, CELL), min_size=1, max_size=5))
def test_any_text_is_an_id_and_comes_back_as_it_is(folder, ids):
    table = io.StringIO()
    csv.writer(table, lineterminator="\n").writerows(
        [("user", "item", "timestamp"), *((user, item, 1_700_000_000) for user, item in ids)]
    )
    expected = [(user, item, 1_700_000_000_000_000) for user, item in ids]
    assert read(ours, folder / "log.csv", table.getvalue().encode()) == expected
    objects = "".join(json.dumps({"user": u, "item": i, "timestamp": 1_700_000_000}) + "\n" for u, i in ids)
    assert read(ours, folder / "log.jsonl", objects.encode()) == expected
