import pickle
import random
from pathlib import Path

import pytest

from src.core.errors import UserError
from src.core.paths import ROOT
from src.data.conversion.pickled_table import read_pickled_table

# Written by the pandas in their names; protocol 5, but 4 in pandas' first releases for Python before 3.8.
FIXTURES = ROOT / "tests" / "fixtures" / "pickled"
VERSIONS = ["1.1.5", "1.2.5", "1.4.4", "1.5.3", "2.2.3", "3.0.0"]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_frame_of_pandas_is_read(version):
    assert read_pickled_table(FIXTURES / f"pairs_pandas_{version}.df") == {
        "seq": [[[1, 3.0], [2, 4.0]], [[2, 4], [3, 5]]],  # lists of pairs, some of NumPy's numbers
        "len_seq": [2, 2],
        "next": [[5, 4], [6, 3]],
        "title": ["a", "b"],
        "when": [1.5, 2.5],
    }
    filtered = {"seq": [[2, 3, 4]], "len_seq": [3], "next": [6]}  # the second row of two
    assert read_pickled_table(FIXTURES / f"filtered_pandas_{version}.df") == filtered


def test_pandas_1_3_names_what_calls_functions_and_is_refused():
    with pytest.raises(UserError, match=r"it names functools\.partial"):
        read_pickled_table(FIXTURES / "pairs_pandas_1.3.5.df")


@pytest.mark.parametrize("protocol", [4, 5])
def test_what_the_pandas_that_is_here_writes_is_read(tmp_path, protocol):
    pandas = pytest.importorskip("pandas")
    columns = {"seq": [[1, 2], [3]], "len_seq": [2, 1], "next": [4, 5], "flag": [True, False], "share": [0.5, 1.5]}
    pandas.DataFrame(columns).to_pickle(tmp_path / "frame.df", protocol=protocol)
    assert read_pickled_table(tmp_path / "frame.df") == columns


def test_types_beside_lists_numbers_and_texts_are_refused(tmp_path):
    pandas = pytest.importorskip("pandas")
    for column in (pandas.to_datetime(["2020-01-01"]), pandas.Categorical(["a"]), [{"a": 1}], [[[[1]]]]):
        pandas.DataFrame({"seq": column}).to_pickle(tmp_path / "frame.df")
        with pytest.raises(UserError, match=r"frame\.df"):
            read_pickled_table(tmp_path / "frame.df")


@pytest.mark.parametrize("value", [[1, 2], {"_mgr": 1}, slice(1, 2), "text", None])
def test_what_is_no_table_is_told(tmp_path, value):
    path = tmp_path / "frame.df"
    path.write_bytes(pickle.dumps(value, 4))
    with pytest.raises(UserError, match="holds no pandas table"):
        read_pickled_table(path)


def test_a_frame_cut_short_anywhere_is_refused(tmp_path):
    content, path = (FIXTURES / "pairs_pandas_2.2.3.df").read_bytes(), tmp_path / "frame.df"
    for length in range(len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(UserError):
            read_pickled_table(path)


def test_damaged_frames_are_read_or_refused_and_nothing_else(tmp_path):
    path, draw = tmp_path / "frame.df", random.Random(0)
    for name in ("pairs_pandas_1.2.5", "pairs_pandas_2.2.3", "pairs_pandas_3.0.0"):
        content = (FIXTURES / f"{name}.df").read_bytes()
        for _ in range(300):
            damaged = bytearray(content)
            for _ in range(draw.randint(1, 3)):
                damaged[draw.randrange(len(damaged))] = draw.randrange(256)
            path.write_bytes(damaged)
            _read_or_refused(path)


def _read_or_refused(path: Path) -> None:
    try:
        columns = read_pickled_table(path)
    except UserError:
        return
    assert all(isinstance(column, list) for column in columns.values())


def name(module: str, attribute: str) -> bytes:
    return b"".join(b"\x8c" + bytes([len(text)]) + text.encode() for text in (module, attribute)) + b"\x93"


def pickled_frame(names: bytes) -> bytes:
    """Returns a table whose column names are the array of these opcodes."""
    index = name("pandas.core.indexes.base", "_new_Index") + b"(" + name("pandas", "Index") + b"}\x8c\x04data"
    manager = name("pandas.core.internals.managers", "BlockManager") + b"()(" + index + names + b"stRttR"
    return b"\x80\x04" + name("pandas.core.frame", "DataFrame") + b")\x81}\x8c\x04_mgr" + manager + b"sb."


@pytest.mark.parametrize(
    "names",
    [
        name("numpy.core.numeric", "_frombuffer")
        + b"(\x8a\x06"
        + (10**13).to_bytes(6, "little")
        + b"K\x00)\x8c\x01CtR",
        name("pandas._libs.arrays", "__pyx_unpickle_NDArrayBacked") + b")R\x94(K\x00h\x00tb",
    ],
    ids=["ten terabytes of zeros", "an array that holds itself"],
)
def test_a_pickle_that_asks_for_more_than_it_holds_is_refused(tmp_path, names):
    (tmp_path / "frame.df").write_bytes(pickled_frame(names))
    with pytest.raises(UserError, match=r"an array of no bytes|maximum recursion"):
        read_pickled_table(tmp_path / "frame.df")
