"""The columns of a pandas table, out of what its pickle would be (`opcodes`), by pandas' own layout of blocks.

A table is a block manager: axes (column names, rows), and blocks of columns that share a type, each `[columns, rows]`
with the places of its columns. pandas up to 1.2 keeps both in a state, later ones in arguments.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ...core.errors import UserError
from .opcodes import Made, read_opcodes

NUMBERS = ("i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f4", "f8", "b1")
TABLES = ("pandas.core.frame.DataFrame", "pandas.DataFrame")


class _NoTableError(Exception):
    """What is missing."""


def read_pickled_table(path: Path) -> dict[str, list[Any]]:
    """Returns the columns of a pickled pandas table by name: numbers, texts, lists and tuples of these.

    Raises:
        UserError: The pickle is refused (`read_opcodes`), or holds anything but such a table.
    """
    found = read_opcodes(path)
    try:
        return _columns(found)
    except (_NoTableError, ValueError, IndexError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(
            f"{path} holds no pandas table of lists, numbers and texts ({str(error)[:100]}): give a frame as iLoRA or "
            "DLLM2Rec write it, or write it as CSV."
        ) from None


def _columns(table: Any) -> dict[str, list[Any]]:
    manager = _made(table, *TABLES).state["_mgr"]
    _made(manager, "pandas.core.internals.managers.BlockManager")
    if manager.arguments:
        placed, axes = manager.arguments
        blocks = [
            block.arguments[:2] for block in (_made(each, "pandas._libs.internals._unpickle_block") for each in placed)
        ]
    else:
        layout = manager.state[3]["0.14.1"]
        blocks, axes = [(block["values"], block["mgr_locs"]) for block in layout["blocks"]], layout["axes"]
    names = _array(_made(axes[0], "pandas.core.indexes.base._new_Index").arguments[1]["data"]).tolist()
    columns: dict[str, list[Any]] = {}
    for values, places in blocks:
        rows = np.atleast_2d(_array(values))
        for place, row in zip(_places(places), rows, strict=True):
            columns[str(names[place])] = [_plain(value) for value in row.tolist()]
    if len(columns) != len(names) or len({len(column) for column in columns.values()}) > 1:
        raise _NoTableError("columns of different length")
    return columns


def _made(value: Any, *names: str) -> Made:
    if not isinstance(value, Made) or value.name not in names:
        raise _NoTableError(f"no {names[0]}")
    return value


def _places(value: Any) -> Iterable[int]:
    if isinstance(value, Made) and value.name == "builtins.slice":
        start, stop, step = value.arguments
        return range(start, stop, step or 1)
    return _array(value).tolist()


def _array(value: Any) -> np.ndarray:
    """Returns an array of one of the three forms that NumPy and pandas pickle it in."""
    made = _made(
        value,
        "numpy.core.numeric._frombuffer",
        "numpy.core.multiarray._reconstruct",
        "pandas._libs.arrays.__pyx_unpickle_NDArrayBacked",
    )
    if made.name.endswith("NDArrayBacked"):  # pandas 3: texts
        return _array(made.state[1])
    if made.name.endswith("_frombuffer"):
        buffer, dtype, shape, letter = made.arguments
        if not isinstance(buffer, bytes | bytearray):  # bytes(10**12) would be as many zeros
            raise _NoTableError("an array of no bytes")
        order: Literal["F", "C"] = "F" if letter == "F" else "C"
        return np.frombuffer(bytes(buffer), _dtype(dtype)).reshape(shape, order=order)
    _, shape, dtype, by_columns, content = made.state
    order = "F" if by_columns else "C"
    if isinstance(content, bytes):
        return np.frombuffer(content, _dtype(dtype)).reshape(shape, order=order)
    if len(content) != int(np.prod(shape)):
        raise _NoTableError("an array cut short")
    objects = np.empty(len(content), dtype=object)
    objects[:] = content
    return objects.reshape(shape, order=order)


def _dtype(value: Any) -> np.dtype:
    """Numbers only: any other would need what this file does not do."""
    made = _made(value, "numpy.dtype")
    kind, byte_order = made.arguments[0], made.state[1]
    if kind not in NUMBERS or byte_order not in ("<", ">", "|"):
        raise _NoTableError(f"values of type {kind}")
    return np.dtype(kind).newbyteorder(byte_order)


def _plain(value: Any) -> Any:
    """Returns a cell: a number, a text, or a list or tuple of these, at most two deep."""
    if isinstance(value, list | tuple):
        return [_flat(each) for each in value]
    return _number_or_text(value)


def _flat(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_number_or_text(each) for each in value]
    return _number_or_text(value)


def _number_or_text(value: Any) -> Any:
    if isinstance(value, Made) and value.name == "numpy.core.multiarray.scalar":
        dtype, content = value.arguments
        return np.frombuffer(content, _dtype(dtype))[0].item()
    if value is not None and not isinstance(value, int | float | str):
        raise _NoTableError(f"a cell that is a {value.name if isinstance(value, Made) else type(value).__name__}")
    return value
