"""Logs and items of one's own: tables whose columns `dataset.columns` names. Ids are texts from here to the end."""

from collections.abc import Iterator
from pathlib import Path

import polars as pl

from ...core.data_utils import HISTORY, TEST, TRAIN, VAL
from ...core.errors import UserError
from ..settings import DatasetSettings
from .cells import Cells, Header, num_rows_about, refuse_rows
from .layouts import Layout
from .lines import CONTROL
from .times import TICKS, Times

PARTS = {"train": TRAIN, "val": VAL, "valid": VAL, "validation": VAL, "test": TEST, "history": HISTORY}
JOINED = "; "  # between a title and what else is known of an item


def read_log(path: Path, settings: DatasetSettings) -> pl.DataFrame:
    """Reads `user`, `item` (Enums of texts in ascending order), `timestamp` (int64 microseconds, or the row where there
    are no times), and where they are there or asked for `rating` (float32), `part` (int8), `session` (text).

    Raises:
        UserError: A column is missing, or a cell of it is; a time, a rating or a part is none.
    """
    (log,) = log_parts(path, settings)
    return log


def log_parts(
    path: Path, settings: DatasetSettings, part_rows: int | None = None, fractions: bool = False
) -> Iterator[pl.DataFrame]:
    """Yields what `read_log` returns in parts of about `part_rows` rows; each knows the ids alone that it holds.

    Args:
        path, settings: See `read_log`.
        part_rows: None: all is one part.
        fractions: See `Times`.

    Raises:
        UserError: See `read_log`; a fault is told when its part is reached.
        FractionsFoundError: See `Times.microseconds`.
    """
    cells = Cells(path, settings.separator, settings.log_header, part_rows)
    wanted, times, before = wanted_columns(cells, settings), Times(path, fractions), 0
    for frame in cells.parts(wanted.values(), settings.row_limit):
        log = {key: _enum(_ids(frame[wanted[key]], path, before), path, before) for key in ("user", "item")}
        if "timestamp" in wanted:
            log["timestamp"] = times.microseconds(frame[wanted["timestamp"]])
        else:
            log["timestamp"] = pl.int_range(before, before + len(frame), dtype=pl.Int64, eager=True)
        if "rating" in wanted:
            log["rating"] = _ratings(frame[wanted["rating"]], path, before)
        if "part" in wanted:
            log["part"] = _parts(frame[wanted["part"]], path, before)
        if "session" in wanted:
            log["session"] = _ids(frame[wanted["session"]], path, before)
        before += len(frame)
        yield pl.DataFrame(log)
    times.close()


def wanted_columns(header: Header, settings: DatasetSettings) -> dict[str, str]:
    """Returns the columns that a log is read from, by what they mean.

    Raises:
        UserError: One is missing.
    """
    names = settings.columns
    wanted = {"user": names.user, "item": names.item}
    if names.timestamp is not None:
        wanted["timestamp"] = names.timestamp
    if settings.split == "given":
        wanted["part"] = names.part
    if settings.split == "sessions" and names.session is not None:
        wanted["session"] = names.session
    for key, column in wanted.items():
        _require(header, column, key, "dataset.log_header")
    if names.rating is not None and names.rating in header:
        wanted["rating"] = names.rating
    return wanted


def read_items(path: Path, settings: DatasetSettings) -> pl.DataFrame:
    """Reads `item`, `title` and `text`, each item once; raises as `known_items`, and where rows of one item differ."""
    items = known_items(path, settings)
    again = items.filter(~pl.col("item").is_first_distinct())
    if len(again):
        raise UserError(
            f"{path}: item {again['item'][0]!r} has several rows that differ ({len(again):,} such rows): keep one."
        )
    return items


def known_items(path: Path, settings: DatasetSettings, skip_nameless: bool = False) -> pl.DataFrame:
    """Reads `item`, `title` and `text`, all texts, "" where nothing is known. White space is one space.

    Args:
        path: The items' file.
        settings: Which columns.
        skip_nameless: Whether items without an id are left out; else they are an error.

    Raises:
        UserError: A column is missing, or an item has no id.
    """
    names, cells = settings.columns, Cells(path, settings.separator, settings.items_header)
    titles = [] if names.title is None else [names.title]
    for key, columns in {"item_key": [names.item_key], "title": titles, "texts": names.texts}.items():
        for column in columns:
            _require(cells, column, key, "dataset.items_header")
    frame = cells.read([names.item_key, *titles, *names.texts])
    if skip_nameless:
        frame = frame.filter(pl.col(names.item_key).fill_null("") != "")
    item = _ids(frame[names.item_key], path)
    refuse_rows(path, item, item.str.contains(CONTROL), "holds what is in no text")
    known = pl.DataFrame([_words(frame[name], path).alias(str(n)) for n, name in enumerate((*titles, *names.texts))])
    nothing = pl.repeat("", len(item), eager=True)
    title, text = known["0"] if titles else nothing, _joined(known) if known.columns else nothing
    return pl.DataFrame({"item": item, "title": title, "text": text}).unique(maintain_order=True)


def _joined(known: pl.DataFrame) -> pl.Series:
    """Returns the texts of each row that are not empty, as one."""
    said = pl.concat_list(pl.when(pl.col(name) != "").then(name) for name in known.columns)
    return known.select(said.list.drop_nulls().list.join(JOINED)).to_series()


def _require(table: Header, column: str, key: str, header: str) -> None:
    if column not in table:
        there = ", ".join(repr(name[:40]) for name in table.names[:30]) or "none"
        lost = " (null: there are none)" if key in ("timestamp", "title", "session") else ""
        raise UserError(
            f"{table.path} has no column {column!r}; there are {there}: name yours by dataset.columns.{key}{lost}, "
            f"or all of them by {header} where the file has no header line."
        )


def _ids(column: pl.Series, path: Path, before: int = 0) -> pl.Series:
    """Returns ids as texts: those of a text as they stand there, whole numbers in decimal."""
    kind = column.dtype
    if not (kind in (pl.String, pl.Categorical, pl.Enum) or kind.is_integer()):
        raise UserError(
            f"{path}: column {column.name} holds {kind}, but ids are texts or whole numbers: name another column."
        )
    ids = column.cast(pl.String)
    refuse_rows(path, column, (ids.str.strip_chars() == "").fill_null(True), "is empty", before)
    return ids


def _enum(ids: pl.Series, path: Path, before: int) -> pl.Series:
    """Returns the same ids as numbers with names, which are sorted and compared as fast as numbers."""
    names = ids.unique().sort()
    if names.str.contains(CONTROL).any():
        refuse_rows(path, ids, ids.str.contains(CONTROL), "holds what is in no text", before)
    return ids.cast(pl.Enum(names))


def _ratings(column: pl.Series, path: Path, before: int) -> pl.Series:
    ratings = column.cast(pl.Float32, strict=False)
    why = "is no number (dataset.columns.rating=null: no ratings)"
    refuse_rows(path, column, ~ratings.is_finite().fill_null(False), why, before)
    return ratings


def _parts(column: pl.Series, path: Path, before: int) -> pl.Series:
    parts = column.cast(pl.String).replace_strict(PARTS, default=None, return_dtype=pl.Int8)
    refuse_rows(path, column, parts.is_null(), "is none of train, val, test and history", before)
    return parts


def _words(column: pl.Series, path: Path) -> pl.Series:
    if isinstance(column.dtype, pl.List | pl.Array):
        if column.dtype.inner.is_nested():
            raise UserError(f"{path}: column {column.name} holds {column.dtype}, not words: name another column.")
        column = column.cast(pl.List(pl.String)).list.drop_nulls().list.join(", ")
    words = column.cast(pl.String).fill_null("").str.replace_all(r"\s+", " ").str.strip_chars()
    refuse_rows(path, column, words.str.contains(CONTROL), "holds what is in no text")
    return words


class ReadTable:
    """Reads the log of a table, at once or in parts."""

    def __call__(self, paths: list[Path], settings: DatasetSettings) -> pl.DataFrame:
        """See `read_log`."""
        return read_log(paths[0], settings)

    def num_rows_about(self, paths: list[Path]) -> int:
        """Returns how many rows the log has, as far as its file's size tells."""
        return num_rows_about(paths[0])

    def in_parts(self, paths: list[Path], settings: DatasetSettings, fractions: bool) -> Iterator[pl.DataFrame]:
        """See `log_parts`."""
        return log_parts(paths[0], settings, settings.rows_at_once, fractions)


TABLE = Layout(
    ReadTable(),
    read_items,
    num_log_files=1,
    times=True,
    ticks=TICKS,
    by_columns=True,
)
