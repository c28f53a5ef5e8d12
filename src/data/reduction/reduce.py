"""Parquet parts anywhere that Spark reads → one file of the rows that the settings' filters may leave."""

import logging
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

import numpy as np
import polars as pl

from ...core.artefact import making, on_disk, scratch
from ...core.errors import UserError
from ..preparation.filtering import refuse_empty, refuse_unrated, titled_alone
from ..raw.cells import PARQUET, Header
from ..raw.columns import ReadTable, wanted_columns
from ..raw.layouts import LAYOUTS
from ..raw.log import check_layout, ending_of
from ..settings import DatasetSettings
from .kinds import TYPES, kinds

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

PATTERNS = "[]{}*?\\"  # letters of paths
ROW_BITS = 40  # of a row's number in its file; the file's stands above
AS_IT_IS = {  # values come back from Spark as they were, or not at all
    "spark.sql.caseSensitive": "true",
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
    "spark.sql.parquet.inferTimestampNTZ.enabled": "true",
    "spark.sql.parquet.binaryAsString": "false",
    "spark.sql.legacy.parquet.nanosAsLong": "false",
    "spark.sql.files.ignoreCorruptFiles": "false",
    "spark.sql.files.ignoreMissingFiles": "false",
}


def check_reducible(log: str, settings: DatasetSettings) -> Path:
    """Returns the file that the reduced log becomes.

    Raises:
        UserError: There is one, or settings ask for what a part of the log cannot tell; tells all at once.
    """
    faults, into = _patterns("reduce.log", log), settings.interactions
    if into is None or ending_of(into) not in [(ending, "") for ending in PARQUET]:
        faults.append("dataset.interactions must name the .parquet file that is to be written")
    elif into.exists():
        faults.append(f"dataset.interactions={into} is there already: delete it or name another")
    else:
        faults += _patterns("dataset.interactions", str(into))
    if not isinstance(LAYOUTS[settings.reader].read_log, ReadTable):
        faults.append(f"dataset.reader={settings.reader} reads no table of rows: write one, and read it by table")
    if settings.columns.timestamp is None:
        faults.append("dataset.columns.timestamp=null means all rows' order: give them a column of times")
    if settings.row_limit is not None:
        faults.append("dataset.limit_data_rows must be -1, since rows are read in no order")
    if settings.tells_sessions_apart:
        faults.append(
            "sessions of a user are told apart by all that he did: give each a name in a column, and name that one by "
            "dataset.columns.user"
        )
    if settings.untitled == "drop" and settings.items is not None and not settings.items.is_file():
        faults.append(f"dataset.items={settings.items} is not there: give the path of a file")
    if faults or into is None:
        raise UserError(f"The log cannot be reduced: {'; '.join(faults)}.")
    check_layout(settings)
    return into


def _patterns(key: str, path: str) -> list[str]:
    """Returns what is wrong with a path that Spark would take for that of other folders, too."""
    found = sorted(set(PATTERNS) & set(path))
    return [f"{key}={path} holds {' '.join(found)}, which Spark reads as patterns: rename it"] if found else []


def reduce_log(log: str, settings: DatasetSettings) -> dict[str, int]:
    """Writes to `dataset.interactions`, whole or not at all, those of a log's columns and rows from which the same
    settings prepare the dataset of the whole log; returns how many rows there were, and are.

    The rows are in the order of the log: parts by name, rows as they stand there. `preparation` filters the file again,
    so that it may hold more than what is left in the end: the k-core of any part that holds the core is the core.

    Args:
        log: A folder of Parquet files, or an address of one.
        settings: Key `dataset`; the same for the file that is written.

    Raises:
        UserError: See `check_reducible`; Spark, Java, the log or a column is missing, or a column's type would not come
            back as it was.
    """
    into = check_reducible(log, settings)
    with making(into), scratch(into) as files, _told(log):
        spark = _spark()
        rows, wanted = _read(spark, log, settings)
        rows, before = _filtered(spark, rows, settings, log)
        rows, after = _core(spark, rows, settings, files)
        names = {wanted[name]: name for name in wanted}
        in_order = rows.orderBy("row").select([rows[name].alias(column) for column, name in names.items()])
        in_order.write.parquet(f"file://{files / 'sorted'}")
        parts = sorted_parts(files / "sorted")
        whole = files / into.name
        try:
            if parts:
                pl.scan_parquet(parts, glob=False).sink_parquet(whole)
        except pl.exceptions.ComputeError as error:
            raise UserError(f"{log} cannot be read ({str(error).splitlines()[0]}): write it anew.") from None
        if not parts or pl.scan_parquet(whole, glob=False).select(pl.len()).collect().item() != after:
            raise UserError(
                f"What Spark's machines wrote to {files.parent} is not all here: let dataset.interactions name a file "
                "in a folder that all of them share with this one."
            )
        on_disk(whole)
        whole.rename(into)
        on_disk(into.parent)
    return {"rows": before, "kept": after}


def sorted_parts(folder: Path) -> list[Path]:
    """Returns what Spark wrote to a folder, in its order: by a number of five digits or more, which several share."""
    return sorted(folder.glob("part-*.parquet"), key=lambda path: (int(path.name.split("-")[1]), path.name))


def _spark() -> "SparkSession":
    try:
        from pyspark.errors import PySparkRuntimeError
        from pyspark.sql import SparkSession
    except ImportError:
        raise UserError("PySpark is not installed: install it by `pip install 'anyo[spark]'`.") from None
    try:
        quiet = SparkSession.builder.appName("anyo").config("spark.ui.showConsoleProgress", "false")
        spark = quiet.getOrCreate().newSession()
    except PySparkRuntimeError as error:
        raise UserError(
            f"Spark does not start ({_reason(error)}): install Java 17 and let JAVA_HOME name it."
        ) from None
    spark.sparkContext.setLogLevel("OFF")  # what fails is told once, by us
    logging.getLogger("py4j").setLevel(logging.WARNING)
    for key, value in AS_IT_IS.items():
        spark.conf.set(key, value)
    return spark


@contextmanager
def _told(log: str) -> Iterator[None]:
    """Turns what Spark raises into one sentence."""
    try:
        yield
    except Exception as error:
        if type(error).__module__.partition(".")[0] not in ("pyspark", "py4j") or "No space left" in str(error):
            raise
        raise UserError(
            f"Spark cannot reduce {log} ({_reason(error)}): give a folder of Parquet files whose columns have one type "
            "in all of them, dates in microseconds."
        ) from error


def _reason(error: Exception) -> str:
    """Returns the line of an error that says most."""
    lines = [line.strip() for line in str(error).splitlines()] or [type(error).__name__]
    coded = re.findall(r"\[[A-Z][A-Z_.0-9]+\].*", str(error))
    return str(([*reversed(coded)] or lines)[0]).rstrip(".:")


def _read(spark: "SparkSession", log: str, settings: DatasetSettings) -> "tuple[DataFrame, dict[str, str]]":
    """Returns the log's columns by what they mean, with `row`, its place in the whole log; and what they are called."""
    from pyspark.sql import functions as F

    where = log if "://" in log else f"file://{log}"
    parts = spark.read.option("mergeSchema", True).option("recursiveFileLookup", True).parquet(where)
    header = Header(log, parts.columns)
    wanted = wanted_columns(header, settings)
    columns = {}
    for name, column in wanted.items():
        field = parts.schema[header.place_of[column]]
        if (type := field.dataType.simpleString()) not in TYPES[name]:
            raise UserError(
                f"{log}: column {field.name} holds {type}, which would not come back from Spark as it was, or is no "
                f"{name}: write it as {' or '.join(TYPES[name])}, or name another by dataset.columns.{name}."
            )
        columns[name] = F.col("`" + field.name.replace("`", "``") + "`")
    paths = [row[0] for row in parts.select("_metadata.file_path").distinct().collect()]
    places = [(path, place << ROW_BITS) for place, path in enumerate(sorted(paths, key=unquote))]
    files = spark.createDataFrame(places, "file string, first bigint")
    columns |= {"file": F.col("_metadata.file_path"), "place": F.col("_metadata.row_index")}
    rows = parts.select([column.alias(name) for name, column in columns.items()])
    rows = rows.join(F.broadcast(files), "file").withColumn("row", F.col("first") + F.col("place"))
    return rows.select("row", *wanted), wanted


def _filtered(spark: "SparkSession", rows: "DataFrame", settings: DatasetSettings, log: str) -> "tuple[DataFrame, int]":
    """Returns the rows that have a title and a rating as the settings ask for, and the first of each kind, which no
    filter drops (`always`); and how many there were.
    """
    from pyspark.sql import functions as F

    alike = rows.groupBy(*kinds(dict(rows.drop("row").dtypes))).agg(F.min("row"), F.count("row")).collect()
    firsts, before = [row["min(row)"] for row in alike], sum(row["count(row)"] for row in alike)
    refuse_empty(before, log)
    kept = F.col("user").isNotNull() & F.col("item").isNotNull()
    if settings.min_rating is not None:
        refuse_unrated(rows.columns, settings, log)
        least = min(settings.min_rating, float(np.float32(settings.min_rating)))  # however a float32 is held to it
        kept &= F.col("rating").cast("float").cast("double") >= least
    if settings.untitled == "drop" and settings.items is not None:
        titled = titled_alone(LAYOUTS[settings.reader].read_items(settings.items, settings), settings)
        if titled is not None:
            names = spark.createDataFrame([(name,) for name in titled.unique()], "titled string")
            rows = rows.join(names, F.col("item").cast("string") == F.col("titled"), "left")
            kept &= F.col("titled").isNotNull()
    rows = rows.withColumn("always", F.col("row").isin(firsts))
    return rows.filter(kept | F.col("always")).drop("titled"), before


def _core(spark: "SparkSession", rows: "DataFrame", settings: DatasetSettings, files: Path) -> "tuple[DataFrame, int]":
    """Returns the k-core, and how many rows it has. Each round is a file, so that no plan grows without end."""
    from pyspark.sql import functions as F

    least = {"user": settings.min_user_interactions, "item": settings.min_item_interactions}
    before = -1
    for number in count():
        rows.write.parquet(f"file://{files / f'round-{number}'}")
        shutil.rmtree(files / f"round-{number - 1}", ignore_errors=True)
        rows = spark.read.parquet(f"file://{files / f'round-{number}'}")
        left = rows.count()
        if left == before or max(least.values()) < 2:
            break
        before, round = left, rows
        for name, fewest in least.items():
            rare = round.groupBy(F.col(name).alias("rare")).count().filter(F.col("count") < fewest)
            rows = rows.join(rare, (F.col(name) == F.col("rare")) & ~F.col("always"), "left_anti")
    return rows, left
