"""The dataset of a log that Spark has reduced is the dataset of the whole log: tables, or the same sentence."""

import datetime
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import settings as run
from hypothesis import strategies as st

from src.core.errors import UserError
from src.core.paths import ROOT
from src.data.prepare import prepare_dataset
from src.data.reduction import reduce
from src.data.reduction.reduce import reduce_log
from src.data.settings import DatasetSettings
from tests.data.own_logs import own, write_table
from tests.data.reduction.sparks import needs_spark, start

YEAR = 1_700_000_000
NAMES = ["b part.parquet", "a+part.parquet", "c.parquet"]  # written in no order


@pytest.fixture(scope="module", autouse=True)
def spark():
    if needs_spark.args[0]:
        pytest.skip(needs_spark.kwargs["reason"])
    start()


def in_parts(folder: Path, log: pl.DataFrame, names: list[str] = NAMES) -> Path:
    """Writes a log in parts, which are in order by their names."""
    folder.mkdir(parents=True)
    ends = np.linspace(0, len(log), len(names) + 1).astype(int)
    for name, first, end in zip(sorted(names), ends, ends[1:], strict=False):
        log[first:end].write_parquet(folder / name, row_group_size=5)
    return folder


def tables(settings: DatasetSettings, folder: Path) -> dict[str, pl.DataFrame] | str:
    try:
        made = prepare_dataset(settings, [], folder)
    except UserError as error:
        return str(error)
    return {each.stem: pl.read_parquet(each) for each in made.folder.glob("*.parquet")}


def compare(folder: Path, log: pl.DataFrame, items: Path | None = None, **more) -> dict[str, pl.DataFrame] | str:
    """Returns what is made of the whole log, once what is made of the reduced one is the same."""
    whole = write_table(folder / "whole.parquet", log)
    expected = tables(own(whole, items, **more), folder / "expected")
    settings = own(folder / "reduced.parquet", items, **more)
    reduce_log(str(in_parts(folder / "parts", log)), settings)
    found = tables(settings, folder / "found")
    if isinstance(expected, str) or isinstance(found, str):
        place = r"whole\.parquet|reduced\.parquet|row \d+|\([\d,]+ such rows\)"
        assert re.sub(place, "", str(found)) == re.sub(place, "", str(expected))
    else:
        assert found.keys() == expected.keys() and len(found) == 6
        for name, table in expected.items():
            assert found[name].equals(table) and found[name].schema == table.schema, name
    return expected


def made_log(rows: int = 600, seed: int = 0) -> pl.DataFrame:
    """Returns a log with ties in time, repeated rows, and a tail that takes several rounds of k-core."""
    draw = np.random.default_rng(seed)
    users, items = (np.minimum(draw.geometric(p, rows), most) for p, most in ((0.06, 60), (0.04, 90)))
    return pl.DataFrame(
        {
            "user": [f"u{user}é'" for user in users],
            "item": items.astype(np.int64),
            "timestamp": YEAR + draw.integers(0, 40, rows),
            "rating": draw.integers(2, 11, rows) / 2,
        }
    )


def full_log(rows: int = 120) -> pl.DataFrame:
    """Returns a log in which nobody is rare, for faults that a single row makes."""
    return made_log(rows).with_columns(user=pl.format("u{}", pl.int_range(pl.len()) % 12))


def test_titles_ratings_and_rounds_of_the_core(tmp_path):
    log = made_log()
    items = pl.DataFrame({"item": range(1, 90), "title": [f"T{n}" if n % 4 else "" for n in range(1, 90)]})
    titles = write_table(tmp_path / "items.csv", items)
    more = {"untitled": "drop", "min_rating": 2.3, "min_user_interactions": 4, "min_item_interactions": 5}
    expected = compare(tmp_path, log, titles, **more)
    titled = log.filter((pl.col("rating") >= 2.3) & (pl.col("item") % 4 != 0))
    once = titled.filter((pl.len().over("user") >= 4) & (pl.len().over("item") >= 5))
    kept = len(expected["interactions"])
    assert kept < len(once) < len(titled)  # rounds are needed
    assert (
        kept <= len(pl.read_parquet(tmp_path / "reduced.parquet")) < kept + 20
    )  # what is kept beside it are a few rows


IDS = st.sampled_from(["a", "B", "00", "0", "é", "日本", "e\u0301", "a ", "\U0001f680", "￼", "a b"])
ROWS = st.lists(
    st.tuples(IDS, IDS, st.integers(0, 3), st.integers(1, 5), st.sampled_from(["train", "val", "test", "history"])),
    min_size=1, max_size=40,
)  # fmt: skip
COLUMNS = ["user", "item", "timestamp", "rating", "part"]


@run(max_examples=12, deadline=None)
@given(
    ROWS,
    st.sampled_from(["leave_one_out", "global_time", "given", "sessions"]),
    st.integers(0, 4),
    st.integers(0, 4),
    st.sampled_from([None, 3.0]),
)
def test_any_log(rows, split, min_user, min_item, min_rating):
    log = pl.DataFrame(rows, schema=COLUMNS, orient="row")
    filters = {"min_user_interactions": min_user, "min_item_interactions": min_item, "min_rating": min_rating}
    with tempfile.TemporaryDirectory() as name:
        compare(Path(name), log, split=split, val_share=0.3, test_share=0.3, **filters)


FAULTS = {  # what the last row, which every filter drops, holds
    "user": [None, "", " \u2003", "a\0b"],
    "item": [None],
    "rating": [None, float("nan"), float("inf"), 1e39],
    "timestamp": [None, YEAR * 1000, -1, 0, 2**62, -(2**63), 10**11 - 1],
}


@pytest.mark.parametrize(("column", "value"), [(column, value) for column in FAULTS for value in FAULTS[column]])
def test_a_row_that_is_dropped_is_judged_all_the_same(tmp_path, column, value):
    log = full_log()
    last = {"user": "rare", "item": 1000, "timestamp": YEAR, "rating": 0.5, column: value}
    log = pl.concat([log, pl.DataFrame([last], schema=log.schema)])
    made = compare(tmp_path, log, min_rating=0.75)
    assert isinstance(made, str) == (value not in (-1, 0, 10**11 - 1))


@pytest.mark.parametrize(
    ("times", "refused"),
    [
        (pl.lit(20240101, pl.Int32), True),  # a date without hyphens
        (pl.when(pl.col("user") == "rare").then(20240230).otherwise(20240101), False),
        (pl.when(pl.col("user") == "rare").then(20240101000060).otherwise(20240101000059), True),
        (pl.when(pl.col("user") == "rare").then(20240101000061).otherwise(20240101000059), False),
        (pl.col("timestamp") + 0.25, False),
        (pl.col("timestamp") * 10**9 + 999, False),
        (pl.col("timestamp").cast(pl.Float64) * 1e9 + 512, False),
        (pl.when(pl.col("user") == "rare").then(float("nan")).otherwise(pl.col("timestamp")), True),
        (pl.when(pl.col("user") == "rare").then(1e20).otherwise(1.7e18), True),
        (pl.from_epoch("timestamp").cast(pl.Datetime("us")), False),
        (pl.from_epoch("timestamp").cast(pl.Datetime("ms")), False),
        (pl.from_epoch("timestamp").dt.replace_time_zone("Asia/Tokyo"), False),
        (pl.from_epoch("timestamp").dt.date(), False),
        (pl.lit(datetime.datetime(1500, 1, 1)), False),
        (pl.when(pl.col("user") != "rare").then(pl.from_epoch("timestamp").cast(pl.Datetime("us"))), True),
    ],
)
def test_times_of_every_kind(tmp_path, times, refused):
    odd = pl.int_range(pl.len()) == 90
    log = full_log().with_columns(
        user=pl.when(odd).then(pl.lit("rare")).otherwise("user"), rating=pl.when(odd).then(0.5).otherwise("rating")
    )
    made = compare(tmp_path, log.with_columns(timestamp=times), min_rating=0.75)
    assert isinstance(made, str) == refused


def written_by_spark(folder: Path, log: pl.DataFrame, *columns: str) -> Path:
    """Writes a log by Spark as it does if nobody asks for anything else: times as INT96."""
    from pyspark.sql import SparkSession

    spark = SparkSession.getActiveSession()
    assert spark is not None
    log.write_parquet(folder.with_suffix(".parquet"))
    spark.read.parquet(str(folder.with_suffix(".parquet"))).selectExpr(*columns).coalesce(1).write.parquet(str(folder))
    return folder


@pytest.mark.parametrize(
    "columns",
    [
        ("user", "item", "cast(timestamp as timestamp) as timestamp"),
        ("user", "item", "timestamp_micros(timestamp * 1000000 - 3400000000000000 + item) as timestamp"),
        ("if(item = 3, cast(X'ff41' as string), user) as user", "item", "timestamp"),
    ],
)
def test_a_log_that_spark_wrote(tmp_path, columns):
    parts = written_by_spark(tmp_path / "parts", full_log(), *columns)
    (part,) = parts.glob("*.parquet")
    expected = tables(own(part), tmp_path / "expected")
    settings = own(tmp_path / "reduced.parquet")
    if isinstance(expected, str):
        assert "invalid UTF-8" in expected
        refused(tmp_path, parts, "invalid UTF-8")
    else:
        reduce_log(str(parts), settings)
        found = tables(settings, tmp_path / "found")
        assert all(found[name].equals(table) for name, table in expected.items())


def test_a_part_of_the_split_that_is_none_is_found_wherever_it_stands(tmp_path):
    log = full_log().with_columns(
        part=pl.when(pl.int_range(pl.len()) == 90).then(pl.lit("dev")).otherwise(pl.lit("train"))
    )
    log = log.with_columns(rating=pl.when(pl.col("part") == "dev").then(0.5).otherwise("rating"))
    assert "is none of train" in str(compare(tmp_path, log, split="given", min_rating=0.75))


def test_folders_of_any_name(tmp_path):
    compare(tmp_path / "a b%41#é+'", made_log(200), min_user_interactions=3)


@pytest.mark.parametrize("name", ["log[1]", "l*g", "log?", "{log1}"])
def test_a_folder_is_no_pattern(tmp_path, name):
    in_parts(tmp_path / "log1", full_log())
    in_parts(tmp_path / name, made_log(30))
    refused(tmp_path, tmp_path / name, "patterns")
    with pytest.raises(UserError, match="patterns"):
        reduce_log(str(tmp_path / "log1"), own(tmp_path / name / "reduced.parquet"))


def test_spark_may_be_told_to_write_short_files(tmp_path):
    from pyspark.sql import SparkSession

    spark = SparkSession.getActiveSession()
    assert spark is not None
    spark.conf.set("spark.sql.files.maxRecordsPerFile", "7")
    try:
        compare(tmp_path, made_log(300), min_user_interactions=3)
    finally:
        spark.conf.unset("spark.sql.files.maxRecordsPerFile")


def test_columns_go_by_the_names_that_the_settings_say(tmp_path):
    names = {"user": "viewer.id", "item": "Item`", "timestamp": "when", "rating": "how good"}
    log = made_log(200).rename({**names, "rating": "how good:float"}).with_columns(WHEN=0, user=pl.lit("?"))
    compare(tmp_path, log, columns=names, min_rating=2.0, min_user_interactions=3)


@pytest.mark.parametrize(
    ("column", "values", "said"),
    [
        ("user", pl.col("item").cast(pl.Float64), "column user holds double"),
        ("item", pl.col("item").cast(pl.UInt64), r"column item holds decimal\(20,0\)"),
        ("rating", pl.col("rating").cast(pl.String), "column rating holds string"),
        ("timestamp", pl.col("timestamp").cast(pl.String), "column timestamp holds string"),
        ("timestamp", pl.col("timestamp").cast(pl.Float32), "column timestamp holds float"),
        ("timestamp", pl.from_epoch("timestamp").cast(pl.Datetime("ns")), "dates in microseconds"),
    ],
)
def test_what_would_come_back_otherwise_is_refused(tmp_path, column, values, said):
    parts = in_parts(tmp_path / "parts", made_log(20).with_columns(values.alias(column)))
    with pytest.raises(UserError, match=said) as refusal:
        reduce_log(str(parts), own(tmp_path / "reduced.parquet"))
    assert "\n" not in str(refusal.value)
    assert not [left for left in tmp_path.iterdir() if left.is_dir() and left != parts]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"interactions": None}, "dataset.interactions must name the .parquet file"),
        ({"interactions": "log.csv"}, "dataset.interactions must name the .parquet file"),
        ({"columns": {"timestamp": None}}, "dataset.columns.timestamp=null"),
        ({"limit_data_rows": 5}, "dataset.limit_data_rows must be -1"),
        ({"split": "sessions", "session_gap_minutes": 5.0}, "dataset.columns.user"),
        ({"split": "sessions", "columns": {"session": "visit"}}, "dataset.columns.user"),
        ({"reader": "lastfm_tags"}, "dataset.reader=lastfm_tags"),
        ({"untitled": "drop", "items": "nowhere.csv"}, "nowhere.csv is not there"),
    ],
)
def test_what_a_part_of_the_log_cannot_tell_is_refused(tmp_path, more, said):
    with pytest.raises(UserError, match=said):
        reduce_log("nowhere", own(**{"interactions": tmp_path / "reduced.parquet", **more}))


def refused(tmp_path: Path, parts: Path, said: str, **more) -> None:
    with pytest.raises(UserError, match=said) as refusal:
        reduce_log(str(parts), own(tmp_path / "reduced.parquet", **more))
    assert "\n" not in str(refusal.value)
    assert not (tmp_path / "reduced.parquet").exists() and not [*tmp_path.glob(".*.writing")]


def test_faults_of_the_parts_are_told_in_a_sentence(tmp_path):
    log = made_log(30)
    refused(tmp_path, tmp_path / "nowhere", "Spark cannot reduce .*nowhere")
    mixed = in_parts(tmp_path / "mixed", log)
    log.with_columns(pl.col("item").cast(pl.Int32)).write_parquet(mixed / "d.parquet")
    refused(tmp_path, mixed, "Spark cannot reduce .*MERGE")
    other = in_parts(tmp_path / "other", log)
    log.write_csv(other / "d.csv")
    refused(tmp_path, other, "Spark cannot reduce .*d.csv")
    refused(tmp_path, in_parts(tmp_path / "none", log[:0]), "holds no interactions")
    refused(tmp_path, in_parts(tmp_path / "named", log), "has no column 'viewer'", columns={"user": "viewer"})
    unrated = in_parts(tmp_path / "unrated", log.drop("rating"))
    refused(tmp_path, unrated, "has no ratings", min_rating=1.0)


def test_a_file_that_is_there_is_no_place_to_write_to(tmp_path):
    parts = in_parts(tmp_path / "parts", made_log(30))
    there = write_table(tmp_path / "reduced.parquet", made_log(3))
    before = there.read_bytes()
    with pytest.raises(UserError, match="is there already"):
        reduce_log(str(parts), own(there))
    assert there.read_bytes() == before


def test_nothing_half_written_stays(tmp_path, monkeypatch):
    parts = in_parts(tmp_path / "parts", made_log(30))

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pl.LazyFrame, "sink_parquet", full)
    refused(tmp_path, parts, "did not fit on the disk")


def test_machines_that_write_elsewhere_are_noticed(tmp_path, monkeypatch):
    parts, real = in_parts(tmp_path / "parts", made_log(30)), reduce.sorted_parts
    monkeypatch.setattr(reduce, "sorted_parts", lambda folder: real(folder)[:-1])
    refused(tmp_path, parts, "a folder that all of them share")


def test_without_java_a_sentence_says_what_to_install(tmp_path):
    code = (
        "from src.core.errors import UserError\nfrom src.data.reduction.reduce import _spark\n"
        "try:\n    _spark()\nexcept UserError as error:\n    print(error)"
    )
    environment = {**os.environ, "JAVA_HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert "install Java 17" in done.stdout and done.stdout.count("\n") == 1, done.stderr
