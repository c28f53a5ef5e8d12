"""Raw files with any bytes in them: read as a literal reader of the publisher's format reads them, or refused."""

import math
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from src.core.errors import UserError
from src.data.raw.amazon import read_items_tsv, read_sequences
from src.data.raw.movielens import read_movies_dat, read_ratings
from tests.wrong_files.cases import is_one_sentence

PROFILE = settings(max_examples=150, derandomize=True, deadline=None, database=None)
WHOLE = re.compile(rb"[ \t]*[+-]?[0-9]+")
PIECES = [b"\n", b"\r\n", b"\r", b"\t", b"::", b":", b" ", b"", b"\0", b"\xef\xbb\xbf", b"\xe9", "é".encode(), b"-",
          b"+", b"0", b"7", b"2147483648", b"9" * 20, b"nan", b"inf", b"1e39", b"1e3", b".5", b'"', b"#", b"\x1a",
          b"\xff\xfe",          "👩".encode(), b"\\", b"|", b",", b"\x85", b"&amp;", b"&#10;"]  # fmt: skip


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("raw") / "file"


def spoilt(content: bytes) -> st.SearchStrategy[bytes]:
    """A right file in which one to three places are replaced by something else."""
    place = st.tuples(st.integers(0, len(content)), st.integers(0, 3), st.sampled_from(PIECES))

    def spoil(places: list[tuple[int, int, bytes]]) -> bytes:
        found = content
        for at, length, piece in places:
            found = found[:at] + piece + found[at + length :]
        return found

    return st.lists(place, min_size=1, max_size=3).map(spoil)


def read(reader: Any, path: Path, content: bytes) -> Any:
    """Returns what a reader makes of a file, None where it refuses it in a sentence."""
    path.write_bytes(content)
    try:
        return reader(path)
    except UserError as error:
        assert is_one_sentence(str(error)), error
        assert str(path) in str(error)
        return None


def whole(field: bytes, bits: int) -> int | None:
    if WHOLE.fullmatch(field) and -(2 ** (bits - 1)) <= int(field) < 2 ** (bits - 1):
        return int(field)
    return None


def literal_ratings(content: bytes, separator: bytes) -> list[tuple[Any, ...]] | None:
    """Line by line and field by field; None where anything is not as the publisher describes it."""
    rows = []
    content = content.removeprefix(b"\xef\xbb\xbf")
    if content and not content.endswith(b"\n"):
        return None
    for line in content.split(b"\n")[:-1]:
        fields = line.removesuffix(b"\r").split(separator)
        if len(fields) != 4:
            return None
        user, item, time = whole(fields[0], 32), whole(fields[1], 32), whole(fields[3], 64)
        try:
            rating = float(fields[2])
        except ValueError:
            return None
        if None in (user, item, time) or not abs(rating) < 3.4e38:
            return None
        rows.append((user, item, rating, time))
    return rows


RATINGS = {
    separator: b"".join(
        separator.join(row) + b"\n" for row in ((b"7", b"20", b"5", b"300"), (b"9", b"10", b"3.5", b"50"))
    )
    for separator in (b"\t", b"::")
}


@pytest.mark.parametrize("separator", RATINGS)
def test_ratings_are_read_as_a_literal_reader_reads_them_or_refused(path, separator):
    read_here = 0

    @PROFILE
    @given(spoilt(RATINGS[separator]))
    @example(RATINGS[separator])
    def check(content: bytes) -> None:
        nonlocal read_here
        log = read(lambda file: read_ratings(file, separator.decode(), None), path, content)
        if log is None:
            return
        read_here += 1
        expected = literal_ratings(content, separator)
        assert expected is not None, f"{content!r} is read as {log.rows()}"
        assert [row[:2] + row[3:] for row in log.rows()] == [row[:2] + row[3:] for row in expected]
        assert all(math.isclose(a, b[2], rel_tol=1e-6) for a, b in zip(log["rating"], expected, strict=True))

    check()
    assert read_here > 3


def literal_items(content: bytes, separator: str) -> list[tuple[Any, ...]] | None:
    content = content.removeprefix(b"\xef\xbb\xbf")
    try:
        text = content.decode()
    except UnicodeDecodeError:
        text = content.decode("latin-1")
    text = text.replace("\r\n", "\n")
    if (text and not text.endswith("\n")) or re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", text):
        return None
    rows = [line.split(separator) for line in text.rstrip("\n").split("\n")] if text.strip("\n") else []
    if any(len(row) != 3 or whole(row[0].encode(), 32) is None for row in rows):
        return None
    items = [(whole(row[0].encode(), 32), row[1].strip(), row[2]) for row in rows]
    return items if len({row[0] for row in items}) == len(items) else None


MOVIES = "1::Toy Story (1995)::War\n2::Léon: x (1994)::Crime|Drama\n"


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_films_are_read_as_a_literal_reader_reads_them_or_refused(path, encoding):
    read_here = 0

    @PROFILE
    @given(spoilt(MOVIES.encode(encoding)))
    @example(MOVIES.encode(encoding))
    def check(content: bytes) -> None:
        nonlocal read_here
        items = read(read_movies_dat, path, content)
        if items is None:
            return
        read_here += 1
        expected = literal_items(content, "::")
        assert expected is not None, f"{content!r} is read as {items.rows()}"
        assert items.select("item", "title").rows() == [row[:2] for row in expected]

    check()
    assert read_here > 3


def literal_sequences(content: bytes) -> dict[int, list[int]] | None:
    content = content.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n")
    if content and not content.endswith(b"\n"):
        return None
    log: dict[int, list[int]] = {}
    for line in content.rstrip(b"\n").split(b"\n") if content.strip(b"\n") else []:
        numbers = [whole(field, 32) for field in line.rstrip(b" ").split(b" ")]
        if None in numbers or numbers[0] in log:
            return None
        log[numbers[0]] = numbers[1:]
    return log


def test_sequences_are_read_as_a_literal_reader_reads_them_or_refused(path):
    read_here = 0

    @PROFILE
    @given(spoilt(b"5 2 0 1 2\n3 1 2 0\n8 0\n"))
    @example(b"5 2 0 1 2\n3 1 2 0\n8 0\n")
    def check(content: bytes) -> None:
        nonlocal read_here
        log = read(lambda file: read_sequences([file], None), path, content)
        if log is None:
            return
        read_here += 1
        expected = literal_sequences(content)
        assert expected is not None, f"{content!r} is read as {log.rows()}"
        found = {user: log.filter(user=user).sort("timestamp")["item"].to_list() for user in log["user"].unique()}
        assert found == {user: items for user, items in expected.items() if items}

    check()
    assert read_here > 3


@PROFILE
@given(content=st.binary(max_size=60))
def test_any_bytes_are_read_or_refused_in_a_sentence(path, content):
    for reader in (
        lambda file: read_ratings(file, "\t", None),
        lambda file: read_ratings(file, "::", None),
        lambda file: read_sequences([file], None),
        lambda file: read_items_tsv(file, 0),
        read_movies_dat,
    ):
        read(reader, path, content)
