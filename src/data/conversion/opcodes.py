"""A pickle read as data: its opcodes build lists, tuples, dictionaries and records of what it would call; nothing is
imported, nothing is called.

Python's unpickler calls whatever a file names, so that a file may run any program; an allow-list of names still calls
what is on the list with arguments that the file chooses. Here a name stays a name. Names outside `ALLOWED` are refused
all the same: a file that has them is no table.
"""

import pickletools
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from ...core.errors import UserError

ALLOWED = frozenset(
    (
        "builtins.slice",
        "numpy.dtype",
        "numpy.ndarray",
        "numpy.core.multiarray._reconstruct",
        "numpy.core.multiarray.scalar",
        "numpy.core.numeric._frombuffer",
        "pandas._libs.arrays.__pyx_unpickle_NDArrayBacked",
        "pandas._libs.internals._unpickle_block",
        "pandas.arrays.StringArray",
        "pandas.core.frame.DataFrame",
        "pandas.core.indexes.base.Index",
        "pandas.core.indexes.base._new_Index",
        "pandas.core.indexes.numeric.Int64Index",
        "pandas.core.indexes.range.RangeIndex",
        "pandas.core.internals.managers.BlockManager",
        "pandas.DataFrame",
        "pandas.Index",
        "pandas.RangeIndex",
        "pandas.StringDtype",
    )
)
CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
VALUES = frozenset(
    (
        *("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BYTEARRAY8"),
        *("SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8", "SHORT_BINBYTES", "BINBYTES", "BINBYTES8"),
    )
)
MARK = object()


@dataclass(frozen=True)
class Name:
    """What a pickle names."""

    dotted: str


@dataclass
class Made:
    """What a pickle would make by calling `name` with `arguments`, and the state it would then give it."""

    name: str
    arguments: tuple
    state: Any = field(default=None)


class _RefusedError(Exception):
    """Why a file is refused."""


def read_opcodes(path: Path) -> Any:
    """Returns what the pickle would be: lists, tuples, dictionaries, texts, numbers, `Name`s and `Made`s.

    Args:
        path: Of protocol 4 or 5, as pandas 1.x to 3.x write it.

    Raises:
        UserError: It is no such pickle, is cut short, or names what no table has.
    """
    try:
        return _built(path.read_bytes())
    except _RefusedError as refused:
        why = str(refused)
    except (ValueError, IndexError, KeyError, TypeError, AttributeError, OverflowError) as error:
        why = f"it is no whole pickle of protocol 4 or 5 ({str(error)[:100]})"
    raise UserError(
        f"{path} is not read: {why}; nothing of it was run. Convert a table of lists and numbers that pandas wrote."
    )


def _built(content: bytes) -> Any:
    stack: list[Any] = []
    memo: list[Any] = []
    for opcode, read, _ in pickletools.genops(content):
        name, argument = opcode.name, cast("Any", read)
        if name in VALUES:
            stack.append(argument)
        elif name in CONSTANTS:
            stack.append(CONSTANTS[name])
        elif name == "MEMOIZE":
            memo.append(stack[-1])
        elif name in ("BINGET", "LONG_BINGET"):
            stack.append(memo[argument])
        elif name == "MARK":
            stack.append(MARK)
        elif name == "STOP":
            (whole,) = stack
            return whole
        elif name not in ("PROTO", "FRAME"):
            _apply(name, stack)
    raise _RefusedError("it has no end")


def _apply(name: str, stack: list[Any]) -> None:
    """Does what an opcode does that takes from the stack."""
    if name == "EMPTY_LIST":
        stack.append([])
    elif name == "EMPTY_DICT":
        stack.append({})
    elif name == "EMPTY_TUPLE":
        stack.append(())
    elif name in ("TUPLE1", "TUPLE2", "TUPLE3"):
        stack.append(tuple(_popped(stack, int(name[-1]))))
    elif name == "TUPLE":
        stack.append(tuple(_to_mark(stack)))
    elif name in ("APPEND", "APPENDS"):
        values = _popped(stack, 1) if name == "APPEND" else _to_mark(stack)
        _top(stack, list).extend(values)
    elif name in ("SETITEM", "SETITEMS"):
        pairs = _popped(stack, 2) if name == "SETITEM" else _to_mark(stack)
        _top(stack, dict).update(zip(pairs[::2], pairs[1::2], strict=True))
    elif name == "STACK_GLOBAL":
        stack.append(_named(*_popped(stack, 2)))
    elif name in ("REDUCE", "NEWOBJ"):
        called, arguments = _popped(stack, 2)
        if not isinstance(called, Name) or not isinstance(arguments, tuple):
            raise _RefusedError("it calls what is no name")
        stack.append(Made(called.dotted, arguments))
    elif name == "BUILD":
        (state,) = _popped(stack, 1)
        _top(stack, Made).state = state
    else:
        raise _RefusedError(f"it holds the opcode {name}, which no such table needs")


def _named(module: Any, name: Any) -> Name:
    """Older and newer NumPy call one module differently."""
    dotted = f"{module}.{name}".replace("numpy._core.", "numpy.core.", 1)
    if dotted not in ALLOWED:
        raise _RefusedError(f"it names {dotted[:100]}, which no such table needs")
    return Name(dotted)


def _top(stack: list[Any], kind: type) -> Any:
    if not isinstance(stack[-1], kind):
        raise _RefusedError(f"it fills what is no {kind.__name__}")
    return stack[-1]


def _popped(stack: list[Any], count: int) -> list[Any]:
    values = stack[-count:]
    if len(values) < count or any(value is MARK for value in values):
        raise _RefusedError("it takes what is not there")
    del stack[-count:]
    return values


def _to_mark(stack: list[Any]) -> list[Any]:
    values = []
    while (value := stack.pop()) is not MARK:
        values.append(value)
    return values[::-1]
