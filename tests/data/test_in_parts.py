"""A log that is prepared in parts, on disk, gives what the same log gives in memory: tables, or the same sentence."""

import gzip
import re
import shutil
import tempfile
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import settings as run
from hypothesis import strategies as st

from src.core.artefact import read_manifest
from src.core.errors import UserError
from src.data.preparation.columns import Column, Ordered
from src.data.prepare import prepare_dataset
from src.data.raw.cells import Cells
from src.data.raw.parts import text_parts
from tests.data.own_logs import own, write_table
from tests.data.raw_folders import write

WHOLE, PARTS = 10**9, 1  # rows at once: all, and so few that a part is a row or two and a group is a user
IDS = st.sampled_from(["a", "b", "00", "0", "é", "日本", 'quo"te', "com,ma", "e\u0301"])
ROWS = st.lists(
    st.tuples(IDS, IDS, st.integers(0, 3), st.integers(1, 5), st.sampled_from(["train", "val", "test", "history"])),
    max_size=30,
)
COLUMNS = ["user", "item", "timestamp", "rating", "part"]


def prepared(folder: Path, path: Path, rows_at_once: int, **more) -> dict[str, pl.DataFrame] | str:
    """Returns the tables of the dataset, or the sentence that refuses it."""
    try:
        made = prepare_dataset(own(path, rows_at_once=rows_at_once, **more), [folder], folder / f"p{rows_at_once}")
    except UserError as error:
        return str(error)
    counts = read_manifest(made.folder, "counts")["counts"]
    return {"counts": counts, **{each.stem: pl.read_parquet(each) for each in made.folder.glob("*.parquet")}}


def compare(folder: Path, path: Path, **more) -> dict[str, pl.DataFrame] | str:
    whole, parts = (prepared(folder, path, rows, **more) for rows in (WHOLE, PARTS))
    if isinstance(whole, str) or isinstance(parts, str):
        count = r"\([\d,]+ such rows\)"  # of the whole, or of the part that has the first
        assert re.sub(count, "", str(parts)) == re.sub(count, "", str(whole))
    else:
        assert parts.keys() == whole.keys() and parts["counts"] == whole["counts"]
        for name in whole.keys() - {"counts"}:
            assert parts[name].equals(whole[name]) and parts[name].schema == whole[name].schema, name
    return whole


@run(max_examples=40, deadline=None)
@given(
    ROWS,
    st.sampled_from(["csv", "parquet", "tsv"]),
    st.sampled_from(["leave_one_out", "global_time", "given", "sessions"]),
    st.integers(0, 3),
    st.integers(0, 3),
    st.sampled_from([None, 2]),
    st.booleans(),
)
def test_parts_give_what_the_whole_gives(rows, ending, split, min_user, min_item, min_rating, timed):
    log = pl.DataFrame(rows, schema=COLUMNS, orient="row")
    filters = {"min_user_interactions": min_user, "min_item_interactions": min_item, "min_rating": min_rating}
    times = {} if timed or split in ("global_time", "sessions") else {"columns": {"timestamp": None}}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if ending == "parquet":
            log = log.with_columns(pl.col("user", "item", "part").cast(pl.String))
        path = write_table(folder / f"log.{ending}", log)
        compare(folder, path, split=split, val_share=0.3, test_share=0.3, **filters, **times)


def long_log(n: int = 400, users: int = 7) -> pl.DataFrame:
    random = np.random.default_rng(1)
    return pl.DataFrame(
        {
            "user": [f"u{each}" for each in random.integers(0, users, n)],
            "item": random.integers(0, 20, n),
            "timestamp": random.integers(0, 50, n),
        }
    )


@pytest.mark.parametrize("ending", ["csv", "csv.gz", "jsonl", "parquet"])
@pytest.mark.parametrize("users", [1, 7, 60])
def test_every_format_is_read_in_parts(tmp_path, ending, users):
    path = write_table(tmp_path / f"log.{ending}", long_log(users=users))
    made = compare(tmp_path, path, min_user_interactions=3)
    assert not isinstance(made, str) and made["counts"]["users"] == users
    assert not [left for left in tmp_path.rglob(".*") if left.is_dir()]  # nothing of the work stays


def test_titles_and_a_limit_count_in_parts_too(tmp_path):
    path = write_table(tmp_path / "log.csv", long_log())
    items = write_table(
        tmp_path / "items.csv", pl.DataFrame({"item": range(15), "title": [f"T{n}" for n in range(15)]})
    )
    chosen = own(path, items, rows_at_once=PARTS, untitled="drop", limit_data_rows=300, min_user_interactions=3)
    parts = prepare_dataset(chosen, [tmp_path], tmp_path / "parts")
    whole = own(path, items, untitled="drop", limit_data_rows=300, min_user_interactions=3)
    whole = prepare_dataset(whole, [tmp_path], tmp_path / "whole")
    assert parts.fingerprint == whole.fingerprint and parts.catalogue.titles == whole.catalogue.titles
    assert parts.item_log.tolist() == whole.item_log.tolist() and whole.num_items == 15


@pytest.mark.parametrize(
    "times",
    [
        ["1700000000", "1700000000.5", "1700000001"],
        ["1700000000000000999", "1700000000000001999.5", "1700000000000002999"],  # whole ones alone would be cut
        ["1700000000000000999.0", "1700000000000001999", "1700000000000002999"],
        ["2024-01-01", "2024-01-02", "2024-01-03"],
        ["2024-01-01", "1700000000", "2024-01-03"],
        ["1700000000", "2024-01-01", "2024-01-03"],
        ["20240101", "20240102", "20240103"],
        ["20240101", "20240102", "1700000000"],
        ["1700000000", "1700000000000", "1700000000"],
        ["1700000000000", "1700000000", "1700000000000"],
        ["1700000000", "", "1700000000"],
        ["1e300", "1", "2"],
        ["9223372036854775808", "1700000000000000999", "1700000000000000999"],
    ],
)
def test_times_are_of_one_kind_in_all_parts(tmp_path, times):
    rows = [f"u,i{n},{time}\n" for n, time in enumerate(times)]
    path = write(tmp_path / "log.csv", "user,item,timestamp\n" + "".join(rows))
    compare(tmp_path, path)


@pytest.mark.parametrize("size", [4, 7, 30, 1000])
@pytest.mark.parametrize("end", ["", "\n\n", "\r\n"])
def test_a_text_in_parts_is_the_text(tmp_path, size, end):
    text = 'a,"b\nc"\n"d ""\n",e\nf,g\n\nh,i\n'
    path = write(tmp_path / "log.csv", text + end)
    parts = [*text_parts(path, False, '"', size)]
    assert b"".join(parts) == text.encode()
    assert all(part.count(b'"') % 2 == 0 and part.endswith(b"\n") for part in parts)
    packed = tmp_path / "log.csv.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    assert b"".join(text_parts(packed, True, '"', size)) == text.encode()


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "user,item\n1,2\n3,4\n5,6,7\n", r"row 4 \(the header counted\): 3 fields"),
        ("a.csv", 'user,item\n"1\n",2\n3,4\n5,6,7\n', r"row 4 \(the header counted\): 3 fields"),
        ("a.jsonl", '{"user":1,"item":2}\n' * 5 + "x\n", "line 6, is no JSON object"),
        ("a.jsonl", "{'user':1,'item':2}\n" * 5 + "{'a\n", "line 6, is no Python dictionary"),
    ],
)
def test_the_place_of_a_fault_is_of_the_file_not_of_the_part(tmp_path, name, text, message):
    cells = Cells(write(tmp_path / name, text), part_rows=1)
    with pytest.raises(UserError, match=message):
        [*cells.parts(["user", "item"])]


@run(deadline=None)
@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=20), st.integers(1, 5))
def test_a_column_in_order_by_place(numbers, rows):
    folder = Path(tempfile.mkdtemp())
    column = Column(folder / "times", np.int64)
    column.append(np.array(numbers, dtype=np.int64))
    ordered = Ordered(column, rows)
    assert [ordered[place] for place in range(-1, len(numbers))] == [max(numbers), *sorted(numbers)]
    column.delete()
    shutil.rmtree(folder)
