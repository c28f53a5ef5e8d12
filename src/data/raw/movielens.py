"""MovieLens: ratings with times, films with genres."""

import re
from codecs import BOM_UTF8
from decimal import Decimal
from pathlib import Path

import polars as pl

from ...core.errors import UserError
from .layouts import Layout
from .lines import LARGEST_ID, item_fields, refuse_torn_end

# fmt: off
ML_100K_GENRES = (  # in the order of the flags in u.item
    "unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama", "Fantasy",
    "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western",
)
# fmt: on


COLUMNS = {"user": pl.Int32, "item": pl.Int32, "rating": pl.Float32, "timestamp": pl.Int64}


NUMBER = {  # what each is called, how it is written, the largest
    pl.Int32: (f"a whole number up to {LARGEST_ID}", re.compile(r" *[+-]?\d+", re.ASCII), LARGEST_ID),
    pl.Int64: (f"a whole number up to {2**63 - 1}", re.compile(r" *[+-]?\d+", re.ASCII), 2**63 - 1),
    pl.Float32: ("a number", re.compile(r" *[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII), 3.4e38),
}


def read_ratings(path: Path, separator: str, limit: int | None) -> pl.DataFrame:
    """Reads lines of user, item, rating, time. polars splits at one byte: `::` is two `:` with an empty column between.

    Raises:
        UserError: A line has another number of fields, or a field is no number.
    """
    refuse_torn_end(path)
    with path.open("rb") as file:
        if not file.read(1024).removeprefix(BOM_UTF8).isascii():  # polars would unpack what is compressed
            raise _bad_rating_line(path, separator, "it is no text")
    schema: dict[str, type[pl.DataType]] = {}
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
    if not log["rating"].is_finite().all():  # polars reads "nan" and "inf"
        raise _bad_rating_line(path, separator, "a rating is not finite")
    return log.select(*COLUMNS)


def _bad_rating_line(path: Path, separator: str, reason: str) -> UserError:
    """Reads once more, slowly, to say where the first fault is. Runs only after a read has failed."""
    names = ", ".join(COLUMNS)
    with path.open(encoding="utf-8-sig", errors="backslashreplace", newline="\n") as lines:
        for number, line in enumerate(lines, start=1):
            fields = line.rstrip("\r\n").split(separator)
            if len(fields) != len(COLUMNS):
                return UserError(
                    f"{path}, line {number}: {len(fields)} of {len(COLUMNS)} fields, which are {names} separated by "
                    f"{separator!r}; mend the line, or copy the file again if it is truncated."
                )
            for (name, dtype), field in zip(COLUMNS.items(), fields, strict=True):
                kind, written, largest = NUMBER[dtype]
                if not written.fullmatch(field) or not -largest - 1 <= Decimal(field) <= largest:
                    return UserError(f"{path}, line {number}: {name} {field[:40]!r} is not {kind}; mend the line.")
    return UserError(f"{path} cannot be read ({reason.splitlines()[0]}): compare it with its publisher's description.")


def read_u_item(path: Path) -> pl.DataFrame:
    """Reads MovieLens-100K's `u.item`: id | title | date | date | link | one 0/1 flag per genre; latin-1, or UTF-8."""
    columns = ["item", "title", "date", "video_date", "link", *ML_100K_GENRES]
    items = item_fields(path, "|", columns, "latin-1")
    wrong = (~items.select(pl.all_horizontal(pl.col(*ML_100K_GENRES).is_in(["0", "1"]))).to_series()).arg_true()
    if len(wrong):
        raise UserError(f"{path}, line {wrong[0] + 1}: a flag of a genre is neither 0 nor 1; mend the line.")
    genres = pl.concat_list(pl.when(pl.col(genre) == "1").then(pl.lit(genre)) for genre in ML_100K_GENRES[1:])
    return _with_genres(items, genres.list.drop_nulls().list.join(", "))


def read_movies_dat(path: Path) -> pl.DataFrame:
    """Reads MovieLens-1M's `movies.dat`: id::title::genre|genre; latin-1, or UTF-8."""
    items = item_fields(path, "::", ["item", "title", "genres"], "latin-1")
    return _with_genres(items, pl.col("genres").str.replace_all("|", ", ", literal=True))


def _with_genres(items: pl.DataFrame, genres: pl.Expr) -> pl.DataFrame:
    """`text` is "Toy Story (1995); Animation, Children's, Comedy", or the title alone where no genre is known."""
    items = items.with_columns(genres=genres)
    known = pl.when(pl.col("genres") != "").then(pl.format("{}; {}", "title", "genres"))
    return items.select("item", "title", text=known.otherwise("title"))


MOVIELENS_100K = Layout(
    lambda paths, settings: read_ratings(paths[0], "\t", settings.row_limit),
    lambda path, settings: read_u_item(path),
    num_log_files=1,
    times=True,
)
MOVIELENS_1M = Layout(
    lambda paths, settings: read_ratings(paths[0], "::", settings.row_limit),
    lambda path, settings: read_movies_dat(path),
    num_log_files=1,
    times=True,
)
