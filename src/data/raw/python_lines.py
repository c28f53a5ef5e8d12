"""Lines that are Python dictionaries, not JSON: Amazon's metadata of 2014, Steam's reviews and games."""

import ast
import io
import json
from pathlib import Path
from typing import Any

from ...core.errors import UserError

STARTS = (b"{'", b"{u'", b'{u"')  # of a dictionary as Python prints it; no JSON object starts so


def as_json_lines(path: Path, text: bytes, first_line: int = 1) -> bytes:
    """Returns JSON lines: `text` itself, or where it is lines of Python dictionaries the same values.

    Values are read as literals: texts, numbers, lists and dictionaries; nothing is executed. Lists within a list, as
    Amazon's categories, are joined to one.

    Raises:
        UserError: A line is no dictionary.
    """
    if not text.startswith(STARTS):
        return text
    numbered = enumerate(io.BytesIO(text), start=first_line)
    lines = (_object(path, number, line) for number, line in numbered if line.strip())
    return "".join(f"{line}\n" for line in lines).encode()


def _object(path: Path, number: int, line: bytes) -> str:
    try:
        found = ast.literal_eval(line.decode().strip())
        if isinstance(found, dict):
            return json.dumps({str(key): _flat(value) for key, value in found.items()})
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):  # TypeError: a set, or bytes
        pass
    raise UserError(
        f"{path}, line {number}, is no Python dictionary, as line 1 is: mend the line or copy the file again."
    )


def _flat(value: Any) -> Any:
    if isinstance(value, list) and any(isinstance(each, list) for each in value):
        return [inner for each in value for inner in (each if isinstance(each, list) else [each])]
    return value
