"""A text in parts that end where a row ends: what is too large to be in memory at once is read so."""

import gzip
import zlib
from codecs import BOM_UTF8
from collections.abc import Iterator
from pathlib import Path
from typing import IO, cast

from ...core.errors import UserError
from .lines import refuse_torn_end
from .log import PACKED

HEAD = 1 << 16  # bytes that are looked at to tell a text from what is none
NO_TEXT = bytes(set(range(32)) - set(b"\t\n\r"))


def text_parts(path: Path, packed: bool, quote: str | None, size: int | None = None) -> Iterator[bytes]:
    """Yields a text without byte order mark and without empty lines at the end, at least one part of it.

    Args:
        path: The file.
        packed: Whether it is packed by gzip.
        quote: Between two of these a line's end is a letter like any other; None: nowhere.
        size: Bytes of a part, about; None: all is one.

    Raises:
        UserError: It is none, or is cut short.
    """
    if not packed:
        refuse_torn_end(path)
    try:
        with gzip.open(path) if packed else path.open("rb") as file:  # gzip tells by itself what is cut
            yield from _parts(path, cast("IO[bytes]", file), quote.encode() if quote else None, size)
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path} cannot be unpacked ({error}): copy it again, or take {PACKED} off its name.") from None


def _parts(path: Path, file: IO[bytes], quote: bytes | None, size: int | None) -> Iterator[bytes]:
    rest = file.read(max(size, len(BOM_UTF8)) if size else -1).removeprefix(BOM_UTF8)
    if len(rest[:HEAD].translate(None, NO_TEXT)) < len(rest[:HEAD]):
        raise UserError(
            f"{path} is no text in UTF-8: unpack it, convert it, copy it again, or give it the ending of what it is."
        )
    while size and (more := file.read(size)):
        end = _last_end(rest, quote)
        if end and rest[end:].strip(b"\r\n") + more.strip(b"\r\n"):  # else the file ends with empty lines
            yield rest[:end]
            rest = rest[end:]
        rest += more
    yield _without_empty_end(rest)


def _last_end(text: bytes, quote: bytes | None) -> int:
    """Returns where the last whole row ends, 0 where none does: before it stands an even number of quotes."""
    end, open_quotes = len(text), text.count(quote) if quote else 0
    while (place := text.rfind(b"\n", 0, end)) >= 0:
        open_quotes -= text.count(quote, place, end) if quote else 0
        if open_quotes % 2 == 0:
            return place + 1
        end = place
    return 0


def _without_empty_end(text: bytes) -> bytes:
    while text.endswith((b"\n\n", b"\n\r\n")):
        text = text.removesuffix(b"\n").removesuffix(b"\r")
    return text if text.endswith(b"\n") or not text else text + b"\n"
