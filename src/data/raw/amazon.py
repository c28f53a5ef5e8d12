"""Amazon reviews as sequences: one line a user, its items in time order; titles in a table of their own."""

import html
from pathlib import Path

import polars as pl

from ...core.errors import UserError
from .layouts import Layout
from .lines import LARGEST_ID, item_fields, lines_of, refuse_control_characters


def read_sequences(paths: list[Path], limit: int | None) -> pl.DataFrame:
    """Reads lines `user item item ...` in time order. A user's later files continue the earlier; time is the place.

    A row of this log is a line, i.e. a user: `limit` lines of each file are read.
    """
    log = pl.concat(_read_sequence_file(path, part, limit) for part, path in enumerate(paths))
    return log.with_columns(timestamp=pl.int_range(pl.len(), dtype=pl.Int64).over("user"))


def _read_sequence_file(path: Path, part: int, limit: int | None) -> pl.DataFrame:
    lines = pl.DataFrame({"fields": lines_of(path, "utf-8")[:limit].str.strip_chars_end(" ").str.split(" ")})
    tokens = lines.with_row_index("line", offset=1).explode("fields")
    tokens = tokens.with_columns(value=pl.col("fields").cast(pl.Int32, strict=False))
    wrong = tokens.filter(pl.col("value").is_null())
    if len(wrong):
        line, field, _ = wrong.row(0)
        raise UserError(
            f"{path}, line {line}: {field[:40]!r} is not a whole number up to {LARGEST_ID}; a line is a user and items "
            "separated by one space: mend the line."
        )
    users = tokens.filter(pl.col("line").is_first_distinct())
    again = users.filter(~pl.col("value").is_first_distinct())
    if len(again):
        line, _, user = again.row(0)
        raise UserError(
            f"{path}, line {line}: user {user} has a line already; join them, in time order, or delete one of them."
        )
    numbered = tokens.with_columns(place=pl.int_range(pl.len()).over("line"), user=pl.col("value").first().over("line"))
    log = numbered.filter(pl.col("place") > 0).select("user", item="value")
    return log.with_columns(part=pl.lit(part, dtype=pl.UInt8))


def read_items_tsv(path: Path, first_in_log: int) -> pl.DataFrame:
    """Reads `number ⇥ ASIN ⇥ title` (HTML-escaped); the file counts from 0, the log from `first_in_log`.

    An ASIN is not the log's id: items keep the log's numbers, so that without filters item - 1 is the number that
    others' teacher files for these datasets use.
    """
    items = item_fields(path, "\t", ["item", "asin", "title"], "utf-8")
    titles = pl.Series("title", [html.unescape(title).strip() for title in items["title"]], dtype=pl.String)
    refuse_control_characters(path, titles)  # an escaped line break would tear a prompt
    return items.select(pl.col("item") + first_in_log, titles, titles.alias("text"))


# The three files number items from 1, their items.tsv from 0: consecutive titles agree under this shift alone.
SEQUENTIAL_SPLITS = Layout(
    lambda paths, settings: read_sequences(paths, settings.row_limit),
    lambda path, settings: read_items_tsv(path, first_in_log=1),
    num_log_files=3,
    times=False,
)
SEQUENTIAL = Layout(
    lambda paths, settings: read_sequences(paths, settings.row_limit),
    lambda path, settings: read_items_tsv(path, first_in_log=0),
    num_log_files=1,
    times=False,
)
