"""Files of rows and named columns, read as their ending tells: CSV, TSV, JSON lines, Parquet; texts also as `.gz`."""

import copy
import csv
import io
import json
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Any

import polars as pl

from ...core.errors import UserError
from .lines import are_equally_long
from .log import PACKED, ending_of
from .parts import text_parts
from .python_lines import as_json_lines

SEPARATORS = {".csv": ",", ".tsv": "\t", ".tab": "\t", ".inter": "\t", ".item": "\t"}
JSON_LINES, PARQUET = (".jsonl", ".ndjson", ".json"), (".parquet", ".pq")
LOOKED_AT = 1000  # lines of JSON whose keys are the columns
BYTES_OF_ROW, PACKED_BY = 24, 4  # of a text, about
UNUSED = "\x1f"  # separates nothing, so that a line is one field


class Header:
    """What a table's columns are called.

    Args:
        path: The table, for messages.
        names: Of its columns, in order.

    Raises:
        UserError: Two columns have one name.
    """

    def __init__(self, path: Path | str, names: list[str]) -> None:
        self.path, self.names = path, names
        twice = {name for name in names if names.count(name) > 1}
        if twice:
            raise UserError(f"{path} has several columns that are called {min(twice)!r}: give each a name of its own.")
        parts = [name.partition(":")[0] for name in names]
        short = {name: place for place, name in enumerate(parts) if parts.count(name) == 1}
        self.place_of = {**short, **{name: place for place, name in enumerate(names)}}

    def __contains__(self, column: str) -> bool:
        """Whether there is such a column; a header's `user:token` is `user`, too (RecBole), if no other is."""
        return column in self.place_of


class Cells(Header):
    """A table's file, opened: what columns it has is known, its rows are read when they are asked for.

    Quotes mean something in `.csv` files alone: a title may begin with one in any other.

    Args:
        path: The file.
        separator: Between the fields of a text; None: as the ending tells.
        header: The columns of a text that has no header line.
        part_rows: Rows that are in memory at once where the table is read in parts; None: it is read as a whole.

    Raises:
        UserError: The file is damaged, has an ending that is not known, or two columns of one name.
    """

    path: Path

    def __init__(
        self,
        path: Path,
        separator: str | None = None,
        header: list[str] | None = None,
        part_rows: int | None = None,
    ) -> None:
        self.path, self.has_header, self.part_rows = path, header is None, part_rows
        self.ending, packed = ending_of(path)
        if self.ending not in (*PARQUET, *JSON_LINES, *SEPARATORS) and separator is None:
            known = ", ".join((*SEPARATORS, *JSON_LINES))
            raise UserError(
                f"{path}: {self.ending or path.name!r} does not tell what it holds; let it end with .parquet, {known} "
                f"(these also with {PACKED}), or set dataset.separator."
            )
        self.separator = separator or SEPARATORS.get(self.ending, "")
        self.quote = '"' if self.ending == ".csv" else None
        self.first_line = 1  # of this part; in a text with quotes its first row
        size = part_rows and part_rows * BYTES_OF_ROW
        texts = iter(()) if self.ending in PARQUET else text_parts(path, bool(packed), self.quote, size)
        self.texts = texts if size else iter([*texts])  # a text that is read as a whole leaves no file open
        self.text = next(self.texts, b"")
        if self.ending in JSON_LINES:
            self.text = as_json_lines(path, self.text)
        self.lists: set[str] = set()  # columns of JSON that hold lists
        self.names: list[str] = []
        super().__init__(path, self._names(header))

    def read(self, columns: Iterable[str], limit: int | None = None) -> pl.DataFrame:
        """Returns columns under the names that they are asked for by; those of a text are texts, null or "" if empty.

        Args:
            columns: Names that the table has.
            limit: The most rows, from the top; None: all.

        Raises:
            UserError: The file is damaged.
        """
        places = {column: self.place_of[column] for column in dict.fromkeys(columns)}
        try:
            frame = self._read(sorted(set(places.values())), limit)
        except (pl.exceptions.PolarsError, OSError) as error:
            raise self._damaged(str(error).splitlines()[0]) from None
        return frame.select(pl.col(str(place)).alias(column) for column, place in places.items())

    def parts(self, columns: Iterable[str], limit: int | None = None) -> Iterator[pl.DataFrame]:
        """Yields what `read` returns in parts of about `part_rows` rows, from the top; once. Raises as `read`."""
        columns = list(columns)
        if self.ending in PARQUET:
            yield from self._parts_of_parquet(columns, limit)
            return
        part, left = self, limit
        for text in chain(self.texts, [None]):
            frame = part.read(columns, left)
            yield frame
            if text is None:
                return
            left = None if left is None else left - len(frame)
            part = part._followed_by(text)

    def num_rows(self, limit: int | None = None) -> int:
        """Returns the rows of a Parquet file, `limit` at most; raises as `read`."""
        try:
            return pl.scan_parquet(self.path, glob=False, n_rows=limit).select(pl.len()).collect().item()
        except (pl.exceptions.PolarsError, OSError) as error:
            raise self._damaged(str(error).splitlines()[0]) from None

    def _parts_of_parquet(self, columns: list[str], limit: int | None) -> Iterator[pl.DataFrame]:
        try:
            table, num_rows = pl.scan_parquet(self.path, glob=False, n_rows=limit), self.num_rows(limit)
            at_once = self.part_rows or max(1, num_rows)
            for first in range(0, max(1, num_rows), at_once):  # of a table without rows one part without rows
                names = {column: pl.col(self.names[self.place_of[column]]) for column in columns}
                yield table.slice(first, at_once).select(**names).collect()
        except (pl.exceptions.PolarsError, OSError) as error:
            raise self._damaged(str(error).splitlines()[0]) from None

    def _followed_by(self, text: bytes) -> "Cells":
        """Returns what stands behind this part."""
        following = copy.copy(self)
        following.has_header = False
        following.first_line = self.first_line + self._num_lines()
        following.text = as_json_lines(self.path, text, following.first_line) if self.ending in JSON_LINES else text
        return following

    def _num_lines(self) -> int:
        if self.quote is not None and self.quote.encode() in self.text:
            return sum(1 for _ in self._rows())
        return self.text.count(b"\n")

    def _names(self, header: list[str] | None) -> list[str]:
        if self.ending in PARQUET:
            try:
                return list(pl.read_parquet_schema(self.path))
            except (pl.exceptions.PolarsError, OSError) as error:
                raise self._damaged(str(error).splitlines()[0]) from None
        if self.ending in JSON_LINES:
            return self._keys()
        try:
            first = next(self._rows(), [])
        except (UnicodeDecodeError, csv.Error) as error:
            raise self._damaged(str(error)) from None
        if header is not None and first and len(first) != len(header):
            raise UserError(
                f"{self.path} has {len(first)} columns, but its header in the config names {len(header)} "
                f"({', '.join(header)}): name them all."
            )
        return header or first

    def _keys(self) -> list[str]:
        """Returns the keys of the first lines of JSON, in the order in which they come."""
        names: dict[str, bool] = {}
        for number, line in enumerate(islice(io.BytesIO(self.text), LOOKED_AT), start=1):
            for name, value in self._object(number, line).items():
                names[name] = names.get(name, False) or isinstance(value, list)
        self.lists = {name for name, is_list in names.items() if is_list}
        return list(names)

    def _object(self, number: int, line: bytes) -> dict:
        try:
            found = json.loads(line) if line.strip() else {}
        except (ValueError, RecursionError):  # another encoding, or brackets without end, too
            found = None
        if not isinstance(found, dict):
            raise UserError(f"{self.path}, line {number}, is no JSON object: write one object on each line.")
        return found

    def _rows(self) -> Iterator[list[str]]:
        """Yields the fields of each line, slowly: for the header, and to say where a fault is."""
        lines = io.TextIOWrapper(io.BytesIO(self.text), encoding="utf-8", newline="")
        if len(self.separator) > 1:
            return (line.rstrip("\r\n").split(self.separator) for line in lines)
        if self.quote is None:
            return csv.reader(lines, delimiter=self.separator, quoting=csv.QUOTE_NONE)
        return csv.reader(lines, delimiter=self.separator, quotechar=self.quote, strict=True)

    def _read(self, places: list[int], limit: int | None) -> pl.DataFrame:
        """Returns columns called by their places, as texts."""
        names = [self.names[place] for place in places]
        if self.ending in PARQUET:
            frame = pl.read_parquet(self.path, columns=names, n_rows=limit)
        elif self.ending in JSON_LINES:
            schema = {name: pl.List(pl.String) if name in self.lists else pl.String for name in names}
            frame = pl.read_ndjson(io.BytesIO(self.text), schema=schema, n_rows=limit)
        elif not self.text:
            frame = pl.DataFrame(schema=dict.fromkeys(names, pl.String))
        elif len(self.separator) > 1:
            frame = self._split(places, limit)
        else:
            self._refuse_ragged_rows()
            frame = pl.read_csv(
                self.text,
                separator=self.separator,
                quote_char=self.quote,
                has_header=self.has_header,
                columns=places,
                infer_schema=False,
                n_rows=limit,
            )
        return frame.select(pl.col(name).alias(str(place)) for name, place in zip(frame.columns, places, strict=True))

    def _refuse_ragged_rows(self) -> None:
        """polars fills up what is too short, does not see what is too long where it reads some columns alone, and mends
        quotes as it thinks fit.
        """
        carriage_returns = self.text.count(b"\r")
        if carriage_returns and carriage_returns != self.text.count(b"\r\n"):
            raise self._damaged("a carriage return stands within a line")
        if self.quote is not None and self.quote.encode() in self.text:
            try:
                ragged = not {*map(len, self._rows())} <= {len(self.names)}
            except (UnicodeDecodeError, csv.Error) as error:
                raise self._damaged(str(error)) from None
        else:
            ragged = not are_equally_long(self.text, ord(self.separator), len(self.names))
        if ragged:
            raise self._damaged("rows differ in their number of fields")

    def _split(self, places: list[int], limit: int | None) -> pl.DataFrame:
        """polars splits fields at one byte; here it splits lines, and what separates fields may be longer."""
        lines = pl.read_csv(
            self.text, separator=UNUSED, quote_char=None, has_header=False, infer_schema=False, new_columns=["line"]
        )["line"]
        fields = lines.slice(int(self.has_header), limit).str.split(self.separator)
        if (fields.list.len().fill_null(0) != len(self.names)).any():
            raise self._damaged("fields are missing")
        return pl.DataFrame({self.names[place]: fields.list.get(place) for place in places})

    def _damaged(self, reason: str) -> UserError:
        """Reads once more, slowly, to say where the first fault is. Runs only after a read has failed."""
        if self.ending in PARQUET:
            return UserError(f"{self.path} is no Parquet file, or is cut short ({reason}): copy it again.")
        try:
            self.text.decode()
            if self.ending in JSON_LINES:
                for row, line in enumerate(io.BytesIO(self.text), start=self.first_line):
                    self._object(row, line)
            else:
                for row, fields in enumerate(self._rows(), start=self.first_line):
                    if len(fields) != len(self.names):
                        return UserError(
                            f"{self.path}, row {row} (the header counted): {len(fields)} fields where there are "
                            f"{len(self.names)} columns; mend the row, or quote what holds a {self.separator!r}."
                        )
        except UnicodeDecodeError as error:
            torn = self.text.count(b"\n", 0, error.start) + self.first_line
            return UserError(f"{self.path}, line {torn}, is not utf-8 text: convert it or copy it again.")
        except csv.Error as error:
            return UserError(f"{self.path} cannot be read ({error}): look for a quote that is not closed.")
        except UserError as error:
            return error
        return UserError(f"{self.path} cannot be read ({reason}): copy it again, or write it anew.")


def num_rows_about(path: Path) -> int:
    """Returns how many rows a table has: exactly of Parquet, else as far as its size tells.

    Raises:
        UserError: See `Cells`.
    """
    ending, packed = ending_of(path)
    if ending in PARQUET:
        return Cells(path).num_rows()
    return path.stat().st_size * (PACKED_BY if packed else 1) // BYTES_OF_ROW


def refuse_rows(path: Path, column: pl.Series, wrong: pl.Series, why: str, before: int = 0) -> None:
    """Makes sure that no row is wrong.

    Args:
        path: The file.
        column: As it was read, named as in the file; a part of it, or all.
        wrong: `[rows]` bool.
        why: What is wrong with them.
        before: Rows of the parts before this one.

    Raises:
        UserError: Some are; names the first, and how many there are in this part.
    """
    rows = wrong.arg_true()
    if len(rows):
        raise wrong_row(path, before + rows[0] + 1, column.name, column[rows[0]], why, len(rows))


def wrong_row(path: Path, row: int, name: str, value: Any, why: str, count: int) -> UserError:
    """Returns what is told of the first of `count` wrong rows."""
    told = "" if value is None else f" {str(value)[:40]!r}"
    return UserError(f"{path}, data row {row}: {name}{told} {why} ({count:,} such rows); mend or drop them.")
