"""What readers of text files share: whole lines, whole fields, or one sentence that says which line is bad."""

from pathlib import Path

import polars as pl

from ...core.errors import UserError


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
        raise UserError(f"{path}, line {line + 1}: item {items['item'][line]!r} is not a whole number; mend the line.")
    if number.is_duplicated().any():
        line = (~number.is_first_distinct()).arg_true()[0]
        raise UserError(f"{path}, line {line + 1}: item {number[line]} is listed a second time; delete one of them.")
    return items.with_columns(number, pl.col("title").str.strip_chars())


def lines_of(path: Path, encoding: str) -> pl.Series:
    try:
        text = path.read_text(encoding=encoding)
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not {encoding} text (byte {error.start}): convert it or copy it again.") from None
    text = text.rstrip("\n")
    return pl.Series("line", text.split("\n") if text else [], dtype=pl.String)


def refuse_torn_end(path: Path) -> None:
    """A file cut within its last number would still parse, so the last line must be a whole one."""
    with path.open("rb") as file:
        if file.seek(0, 2) == 0:
            return
        file.seek(-1, 2)
        if file.read(1) != b"\n":
            raise UserError(f"{path} does not end with a line break, as if truncated: copy it again or end that line.")
