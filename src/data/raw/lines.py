"""What readers of text files share: whole lines, whole fields, or one sentence that says which line is bad."""

from codecs import BOM_UTF8
from pathlib import Path

import numpy as np
import polars as pl

from ...core.errors import UserError

AT_ONCE = 1 << 24  # bytes whose separators are looked at together
LARGEST_ID = 2**31 - 1  # ids are int32
CONTROL = r"[\p{Cc}&&[^\t]]"  # no text has them: compressed, damaged, UTF-16, or Windows' own letters read as latin-1


def item_fields(path: Path, separator: str, columns: list[str], encoding: str) -> pl.DataFrame:
    """Returns one string column per field, but `item` int32; titles without space around them."""
    lines = lines_of(path, encoding)
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
        raise UserError(f"{path}, line {line + 1}: item {items['item'][line][:40]!r} is not {whole_id()}.")
    if number.is_duplicated().any():
        line = (~number.is_first_distinct()).arg_true()[0]
        raise UserError(f"{path}, line {line + 1}: item {number[line]} is listed a second time; delete one of them.")
    return items.with_columns(number, pl.col("title").str.strip_chars())


def whole_id() -> str:
    """What an id must be, as errors say it."""
    return f"a whole number up to {LARGEST_ID}; mend the line"


def lines_of(path: Path, encoding: str) -> pl.Series:
    """Returns the lines of a text, whatever ends them; a byte order mark and empty lines at the end are left out.

    Args:
        path: The file.
        encoding: The publisher's; a copy in UTF-8 is read as such.

    Raises:
        UserError: It is no text in either, mixes both, or does not end with a line break.
    """
    refuse_torn_end(path)
    text = _decoded(path, path.read_bytes().removeprefix(BOM_UTF8), encoding).replace("\r\n", "\n").rstrip("\n")
    lines = pl.Series("line", text.split("\n") if text else [], dtype=pl.String)
    refuse_control_characters(path, lines)
    return lines


def refuse_control_characters(path: Path, texts: pl.Series) -> None:
    """Takes a text of each line."""
    strange = texts.str.extract(f"({CONTROL})").drop_nulls()
    if len(strange):
        line = texts.str.contains(CONTROL).arg_true()[0] + 1
        raise UserError(
            f"{path}, line {line}, holds {strange[0]!r}, which is in no text: unpack it, convert it to UTF-8 or copy "
            "it again."
        )


def _decoded(path: Path, content: bytes, encoding: str) -> str:
    """UTF-8 if it is: letters of latin-1 are hardly ever valid UTF-8 by chance, and would be read as two each."""
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
    if encoding == "utf-8":
        raise UserError(f"{path}, line {line}, is not utf-8 text: convert it or copy it again.")
    mixed = [number for number, text in enumerate(content.split(b"\n"), start=1) if _is_utf8(text)]
    if mixed:
        raise UserError(
            f"{path}, line {mixed[0]}, is UTF-8, line {line} is {encoding}: write the whole file in one of them."
        )
    return content.decode(encoding)


def _is_utf8(line: bytes) -> bool:
    """Whether a line holds letters of UTF-8 beyond ASCII."""
    return not line.isascii() and "\ufffd" not in line.decode("utf-8", errors="replace")


def refuse_torn_end(path: Path) -> None:
    """A file cut within its last number or title would still parse, so the last line must be a whole one."""
    with path.open("rb") as file:
        if file.seek(0, 2) == 0:
            return
        file.seek(-1, 2)
        if file.read(1) != b"\n":
            raise UserError(f"{path} does not end with a line break, as if truncated: copy it again or end that line.")


def are_equally_long(text: bytes, separator: int, num_fields: int) -> bool:
    """Whether each line of a text without quotes has so many fields; their sum may be right where two lines are not."""
    place = 0  # of the next sign within its line: all are separators but the last, which ends the line
    for start in range(0, len(text), AT_ONCE):
        letters = np.frombuffer(text[start : start + AT_ONCE], dtype=np.uint8)
        ends = letters[(letters == separator) | (letters == ord("\n"))] == ord("\n")
        if not ends[num_fields - 1 - place :: num_fields].all() or ends.sum() != (place + len(ends)) // num_fields:
            return False
        place = (place + len(ends)) % num_fields
    return place == 0
