"""Readers: one per layout of raw files. Each returns the log and the items as polars frames, or says which line is bad.

A log has the columns `user`, `item` (int32 raw ids), `timestamp` (int64), where the layout has them `rating` (float32)
and `part` (uint8: 0 train, 1 val, 2 test), in the order of the file. Items have `item`, `title`, `text`.
"""

import html
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from .errors import UserError

# fmt: off
ML_100K_GENRES = (  # in the order of the flags in u.item
    "unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama", "Fantasy",
    "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western",
)
# fmt: on

COLUMNS = {"user": pl.Int32, "item": pl.Int32, "rating": pl.Float32, "timestamp": pl.Int64}
NUMBER = {
    pl.Int32: ("a whole number", re.compile(r"[+-]?\d{1,10}")),
    pl.Int64: ("a whole number", re.compile(r"[+-]?\d{1,19}")),
    pl.Float32: ("a number", re.compile(r"[+-]?(\d+\.?\d*|\.\d+)")),
}


@dataclass(frozen=True)
class Layout:
    """How one kind of raw folder is read.

    read_log: Takes the log's files and the most rows to read from the top of each (None = all).
    read_items: Takes the item file.
    num_log_files: The first so many of `dataset.files` are the log, the one after them the items.
    times: What `timestamp` is: True for real times, False for places in a user's sequence.
    """

    read_log: Callable[[list[Path], int | None], pl.DataFrame]
    read_items: Callable[[Path], pl.DataFrame]
    num_log_files: int
    times: bool


# --- MovieLens ---------------------------------------------------------------------------------------------------


def read_ratings(path: Path, separator: str, limit: int | None) -> pl.DataFrame:
    """Reads lines of user, item, rating, time. polars splits at one byte: `::` is two `:` with an empty column between.

    Raises:
        UserError: A line has another number of fields, or a field is no number.
    """
    _refuse_torn_end(path)
    schema = {}
    for name, dtype in COLUMNS.items():
        if schema and len(separator) == 2:
            schema[f"before_{name}"] = pl.Int8
        schema[name] = dtype
    try:
        log = pl.read_csv(path, separator=separator[0], has_header=False, schema=schema, quote_char=None, n_rows=limit)
    except pl.exceptions.PolarsError as error:
        raise _bad_rating_line(path, separator, str(error)) from None
    empty = log.null_count().row(0, named=True)
    if any(count != (len(log) if name.startswith("before_") else 0) for name, count in empty.items()):
        raise _bad_rating_line(path, separator, "a field is missing")
    return log.select(*COLUMNS)


def _bad_rating_line(path: Path, separator: str, reason: str) -> UserError:
    """Reads once more, slowly, to say where the first fault is. Runs only after a read has failed."""
    names = ", ".join(COLUMNS)
    with path.open(encoding="latin-1", newline="\n") as lines:
        for number, line in enumerate(lines, start=1):
            fields = line.rstrip("\r\n").split(separator)
            if len(fields) != len(COLUMNS):
                return UserError(
                    f"{path}, line {number}: {len(fields)} of {len(COLUMNS)} fields, which are {names} separated by "
                    f"{separator!r}; mend the line, or copy the file again if it is truncated."
                )
            for (name, dtype), field in zip(COLUMNS.items(), fields, strict=True):
                kind, written = NUMBER[dtype]
                if not written.fullmatch(field):
                    return UserError(f"{path}, line {number}: {name} {field!r} is not {kind}; mend the line.")
    return UserError(f"{path} cannot be read ({reason.splitlines()[0]}): compare it with its publisher's description.")


def read_u_item(path: Path) -> pl.DataFrame:
    """Reads MovieLens-100K's `u.item`: id | title | date | date | link | one 0/1 flag per genre, latin-1."""
    columns = ["item", "title", "date", "video_date", "link", *ML_100K_GENRES]
    items = _read_items(path, "|", columns, "latin-1")
    genres = pl.concat_list(pl.when(pl.col(genre) == "1").then(pl.lit(genre)) for genre in ML_100K_GENRES[1:])
    return _with_genres(items, genres.list.drop_nulls().list.join(", "))


def read_movies_dat(path: Path) -> pl.DataFrame:
    """Reads MovieLens-1M's `movies.dat`: id::title::genre|genre, latin-1."""
    items = _read_items(path, "::", ["item", "title", "genres"], "latin-1")
    return _with_genres(items, pl.col("genres").str.replace_all("|", ", ", literal=True))


def _with_genres(items: pl.DataFrame, genres: pl.Expr) -> pl.DataFrame:
    """`text` is "Toy Story (1995); Animation, Children's, Comedy", or the title alone where no genre is known."""
    items = items.with_columns(genres=genres)
    known = pl.when(pl.col("genres") != "").then(pl.format("{}; {}", "title", "genres"))
    return items.select("item", "title", text=known.otherwise("title"))


# --- Amazon, as sequences ----------------------------------------------------------------------------------------


def read_sequences(paths: list[Path], limit: int | None) -> pl.DataFrame:
    """Reads lines `user item item ...` in time order. A user's later files continue the earlier; time is the place.

    A row of this log is a line, i.e. a user: `limit` lines of each file are read.
    """
    log = pl.concat(_read_sequence_file(path, part, limit) for part, path in enumerate(paths))
    return log.with_columns(timestamp=pl.int_range(pl.len(), dtype=pl.Int64).over("user"))


def _read_sequence_file(path: Path, part: int, limit: int | None) -> pl.DataFrame:
    _refuse_torn_end(path)
    lines = pl.DataFrame({"fields": _lines(path, "utf-8")[:limit].str.strip_chars_end(" ").str.split(" ")})
    tokens = lines.with_row_index("line", offset=1).explode("fields")
    tokens = tokens.with_columns(value=pl.col("fields").cast(pl.Int32, strict=False))
    wrong = tokens.filter(pl.col("value").is_null())
    if len(wrong):
        line, field, _ = wrong.row(0)
        raise UserError(
            f"{path}, line {line}: {field!r} is not a whole number; a line is a user and items separated by one space: "
            "mend the line."
        )
    numbered = tokens.with_columns(place=pl.int_range(pl.len()).over("line"), user=pl.col("value").first().over("line"))
    log = numbered.filter(pl.col("place") > 0).select("user", item="value")
    return log.with_columns(part=pl.lit(part, dtype=pl.UInt8))


def read_items_tsv(path: Path, first_in_log: int) -> pl.DataFrame:
    """Reads `number ⇥ ASIN ⇥ title` (HTML-escaped); the file counts from 0, the log from `first_in_log`.

    An ASIN is not the log's id: items keep the log's numbers, so that without filters item - 1 is the number that
    others' teacher files for these datasets use.
    """
    items = _read_items(path, "\t", ["item", "asin", "title"], "utf-8")
    titles = pl.Series("title", [html.unescape(title).strip() for title in items["title"]], dtype=pl.String)
    return items.select(pl.col("item") + first_in_log, titles, titles.alias("text"))


# --- Shared --------------------------------------------------------------------------------------------------------


def _read_items(path: Path, separator: str, columns: list[str], encoding: str) -> pl.DataFrame:
    """Returns one string column per field, but `item` int32; titles without space around them."""
    lines = _lines(path, encoding)
    fields = lines.str.split(separator)
    wrong = (fields.list.len() != len(columns)).arg_true()
    if len(wrong):
        raise UserError(
            f"{path}, line {wrong[0] + 1}: {fields.list.len()[wrong[0]]} fields separated by {separator!r} where "
            f"{len(columns)} are expected; mend the line, or copy the file again if it is truncated."
        )
    items = pl.DataFrame({"fields": fields.list.to_struct(fields=columns)}).unnest("fields")
    number = items["item"].cast(pl.Int32, strict=False)
    if number.has_nulls():
        line = number.is_null().arg_true()[0]
        raise UserError(f"{path}, line {line + 1}: item {items['item'][line]!r} is not a whole number; mend the line.")
    if number.is_duplicated().any():
        line = (~number.is_first_distinct()).arg_true()[0]
        raise UserError(f"{path}, line {line + 1}: item {number[line]} is listed a second time; delete one of them.")
    return items.with_columns(number, pl.col("title").str.strip_chars())


def _lines(path: Path, encoding: str) -> pl.Series:
    try:
        text = path.read_text(encoding=encoding)
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not {encoding} text (byte {error.start}): convert it or copy it again.") from None
    text = text.rstrip("\n")
    return pl.Series("line", text.split("\n") if text else [], dtype=pl.String)


def _refuse_torn_end(path: Path) -> None:
    """A file cut within its last number would still parse, so the last line must be a whole one."""
    with path.open("rb") as file:
        if file.seek(0, 2) == 0:
            return
        file.seek(-1, 2)
        if file.read(1) != b"\n":
            raise UserError(f"{path} does not end with a line break, as if truncated: copy it again or end that line.")


def _from(first_in_log: int) -> Callable[[Path], pl.DataFrame]:
    return lambda path: read_items_tsv(path, first_in_log)


LAYOUTS = {
    "movielens_100k": Layout(lambda paths, limit: read_ratings(paths[0], "\t", limit), read_u_item, 1, times=True),
    "movielens_1m": Layout(lambda paths, limit: read_ratings(paths[0], "::", limit), read_movies_dat, 1, times=True),
    # The three files number items from 1, their items.tsv from 0: consecutive titles agree under this shift alone.
    "amazon_sequential_splits": Layout(read_sequences, _from(1), 3, times=False),
    "amazon_sequential": Layout(read_sequences, _from(0), 1, times=False),
}
