"""What a pickle may ask for, and that nothing of it is ever run."""

import os
import pickle
import struct

import pytest

from src.core.errors import UserError
from src.data.conversion.opcodes import Made, read_opcodes


class Asks:
    """What unpickling would call."""

    def __init__(self, function, *arguments, state=None):
        self.asked = (function, arguments, state)

    def __reduce__(self):
        return self.asked


def written(tmp_path, value, protocol=4):
    path = tmp_path / "frame.df"
    path.write_bytes(pickle.dumps(value, protocol))
    return path


def short_text(text):
    return b"\x8c" + bytes([len(text)]) + text.encode()


def calling(module, name, argument):
    """A pickle that imports by name and calls with one text: what no object of this process could be dumped to."""
    return b"\x80\x04" + short_text(module) + short_text(name) + b"\x93" + short_text(argument) + b"\x85R."


def test_plain_values_come_as_they_are(tmp_path):
    value = {"a": [1, -2, 2**40, 1.5, "é", b"x", None, True], "b": ((), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4)), "c": []}
    value["d"] = value["a"]
    read = read_opcodes(written(tmp_path, value))
    assert read == value and read["d"] is read["a"]


@pytest.mark.parametrize("protocol", [4, 5])
def test_what_is_allowed_is_recorded_and_not_made(tmp_path, protocol):
    read = read_opcodes(written(tmp_path, slice(1, 2, 3), protocol))
    assert read == Made("builtins.slice", (1, 2, 3))


MODULES = [
    ("os", "system"),
    ("posix", "system"),
    ("nt", "system"),
    ("subprocess", "Popen"),
    ("builtins", "eval"),
    ("builtins", "exec"),
    ("builtins", "getattr"),
    ("builtins", "__import__"),
    ("operator", "attrgetter"),
    ("functools", "partial"),
    ("importlib", "import_module"),
    ("runpy", "run_path"),
    ("pickle", "loads"),
    ("torch", "load"),
    ("pandas", "read_pickle"),
    ("pandas.io.pickle", "read_pickle"),
    ("pandas.io.common", "get_handle"),
    ("pandas.core.computation.eval", "eval"),
    ("pandas", "DataFrame.eval"),  # dotted names reach attributes
    ("pandas.core.frame", "DataFrame.to_csv"),
    ("pandas.core.frame", "os.system"),
    ("numpy", "load"),
    ("numpy", "memmap"),
    ("numpy.testing._private.utils", "runstring"),
    ("numpy.core.multiarray", "fromfile"),
    ("numpy.core.multiarray._reconstruct", "x"),
    ("numpy.core", "multiarray.scalar.__self__"),
    ("numpy._core.numpy._core.multiarray", "scalar"),
    ("", "os.system"),
]


@pytest.mark.parametrize(("module", "name"), MODULES)
def test_a_name_that_no_table_needs_is_refused(tmp_path, module, name):
    path, mark = tmp_path / "frame.df", tmp_path / "mark"
    path.write_bytes(calling(module, name, f"touch {mark}"))
    with pytest.raises(UserError, match=r"it names .*, which no such table needs; nothing of it was run"):
        read_opcodes(path)
    assert not mark.exists()


@pytest.mark.parametrize("protocol", range(6))
def test_a_shell_command_never_runs(tmp_path, protocol):
    mark = tmp_path / "mark"
    path = written(tmp_path, [1, {"a": Asks(os.system, f"touch {mark}")}], protocol)
    with pytest.raises(UserError, match=r"is not read: .*; nothing of it was run"):
        read_opcodes(path)
    assert not mark.exists()
    pickle.loads(path.read_bytes())  # Python's own reader runs it
    assert mark.exists()


def test_a_record_cannot_be_called_nor_filled_with_what_python_would_set(tmp_path):
    nested = b"\x80\x04" + short_text("builtins") + short_text("slice") + b"\x93)R)R."  # slice()()
    for content in (nested, b"\x80\x04]}b.", b"\x80\x04K\x01K\x02b.", b"\x80\x04K\x01)R."):
        path = tmp_path / "frame.df"
        path.write_bytes(content)
        with pytest.raises(UserError, match="nothing of it was run"):
            read_opcodes(path)


@pytest.mark.parametrize(
    "opcode",
    [
        pytest.param(b"cos\nsystem\n", id="GLOBAL"),
        pytest.param(b"(S'touch x'\nios\nsystem\n", id="INST"),
        pytest.param(b"(cos\nsystem\nS'x'\no", id="OBJ"),
        pytest.param(b"\x82\x01", id="EXT1"),
        pytest.param(b"Pid\n", id="PERSID"),
        pytest.param(b"K\x01Q", id="BINPERSID"),
        pytest.param(b"\x97", id="NEXT_BUFFER"),
        pytest.param(b"]\x8f", id="EMPTY_SET"),
    ],
)
def test_other_ways_to_name_and_to_call_are_unknown(tmp_path, opcode):
    path = tmp_path / "frame.df"
    path.write_bytes(b"\x80\x04" + opcode + b".")
    with pytest.raises(UserError, match="nothing of it was run"):
        read_opcodes(path)


def test_a_list_that_holds_itself_does_no_harm(tmp_path):
    value: list = []
    value.append(value)
    read = read_opcodes(written(tmp_path, value))
    assert read[0] is read


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no pickle",
        b"\x80\x04",
        b"\x80\x04.",
        b"\x80\x04K\x01K\x01.",
        b"\x80\x04h\x07.",
        b"\x80\x04e.",
        b"\x80\x04]0.",
    ],
)
def test_what_is_no_whole_pickle_is_told(tmp_path, content):
    path = tmp_path / "frame.df"
    path.write_bytes(content)
    with pytest.raises(UserError, match="is not read: "):
        read_opcodes(path)


def test_a_length_beyond_the_file_is_told(tmp_path):
    path = tmp_path / "frame.df"
    path.write_bytes(b"\x80\x05\x96" + struct.pack("<Q", 2**62) + b"abc.")
    with pytest.raises(UserError, match="is not read: "):
        read_opcodes(path)
