"""What a case is, and what is commonly wrong with files."""

import gzip
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from src.core.errors import UserError
from tests.sealing import seal

Spoil = Callable[[Path], object]
AS_BEFORE = object()


@dataclass(frozen=True)
class Kind:
    """One kind of input.

    make: Writes right files into a folder.
    read: Reads them there as the program does; returns what can be compared.
    """

    name: str
    make: Callable[[Path], object]
    read: Callable[[Path], Any]


@dataclass(frozen=True)
class Case:
    """One fault.

    spoil: Does it to the right files.
    refused: What the refusal says, at least; None: it must be read, and `right` must come of it.
    """

    kind: Kind
    fault: str
    spoil: Spoil
    refused: str | None = None
    right: Any = AS_BEFORE

    def __str__(self) -> str:
        return f"{self.kind.name}: {self.fault}"


def outcome(case: Case, folder: Path) -> str | None:
    """Injects the fault below `folder`; returns the refusal, or None where the right result came of it.

    Raises:
        AssertionError: Something else came of it.
    """
    expected = case.right
    if expected is AS_BEFORE and case.refused is None:
        expected = right_of(case.kind)
    wrong = folder / "wrong"
    case.kind.make(wrong)
    case.spoil(wrong)
    seal(wrong)  # else every change is refused for its digest, whatever it is
    try:
        found = case.kind.read(wrong)
    except UserError as error:
        said = str(error)
        assert case.refused is not None, f"{case} should be read, but: {said}"
        assert case.refused in said, f"{case} is refused, but not for {case.refused!r}: {said}"
        assert is_one_sentence(said), f"{case} is told in more than a sentence: {said}"
        return said
    assert case.refused is None, f"{case} is read without a word: {found}"
    assert found == expected, f"{case} is read as {found}, not as {expected}"
    return None


@cache
def right_of(kind: Kind) -> Any:
    """What comes of the right files; of a kind once."""
    with tempfile.TemporaryDirectory() as temporary:
        kind.make(Path(temporary) / "right")
        return kind.read(Path(temporary) / "right")


def is_one_sentence(said: str) -> bool:
    """Whether it is one line of a length that is read, with an end."""
    return "\n" not in said and "Traceback" not in said and len(said) < 1200 and said.endswith((".", "?"))


# --- what is done to a file


def put(name: str, content: bytes | str) -> Spoil:
    """Writes other contents."""
    return lambda folder: (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)


def changed(name: str, change: Callable[[bytes], bytes]) -> Spoil:
    """Changes the contents."""
    return lambda folder: (folder / name).write_bytes(change((folder / name).read_bytes()))


def replaced(name: str, old: str | bytes, new: str | bytes) -> Spoil:
    """Replaces what must be there once or more."""
    before, after = (text.encode() if isinstance(text, str) else text for text in (old, new))

    def spoil(folder: Path) -> None:
        content = (folder / name).read_bytes()
        assert before in content
        (folder / name).write_bytes(content.replace(before, after))

    return spoil


def gone(name: str) -> Spoil:
    return lambda folder: (folder / name).unlink()


def folder_instead(name: str) -> Spoil:
    return lambda folder: ((folder / name).unlink(), (folder / name).mkdir())


def dangling(name: str) -> Spoil:
    return lambda folder: ((folder / name).unlink(), (folder / name).symlink_to("nowhere"))


def linked(name: str) -> Spoil:
    """The file lies elsewhere; nothing is wrong with that."""
    return lambda folder: (
        shutil.move(folder / name, folder / "elsewhere"),
        (folder / name).symlink_to(folder / "elsewhere"),
    )


# --- what is wrong with any file, and with any text

BOM = b"\xef\xbb\xbf"
DAMAGED: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda content: b"",
    "cut within a line": lambda content: content[: len(content) // 2 + 1].removesuffix(b"\n"),
    "without its last byte": lambda content: content[:-1],
    "gzip": lambda content: gzip.compress(content, mtime=0),
    "gzip, a line break behind": lambda content: gzip.compress(content, mtime=0) + b"\n",
    "NUL bytes alone": lambda content: b"\0" * len(content),
    "NUL bytes behind": lambda content: content + b"\0\0\n",
    "UTF-16": lambda content: content.decode("latin-1").encode("utf-16"),
    "UTF-16, a line break behind": lambda content: content.decode("latin-1").encode("utf-16") + b"\n",
    "UTF-32": lambda content: content.decode("latin-1").encode("utf-32") + b"\n",
    "another thing, a page of the web": lambda content: b"<!DOCTYPE html>\n<html><body>404</body></html>\n",
    "an image": lambda content: b"\x89PNG\r\n\x1a\n" + bytes(range(256)) + b"\n",
    "a table of Excel": lambda content: b"PK\x03\x04\x14\x00\x06\x00" + bytes(64) + b"\n",
    "one long line": lambda content: b"1" * 50_000 + b"\n",
    "old Mac's line ends": lambda content: content.replace(b"\n", b"\r"),
    "old Mac's line ends, a line break behind": lambda content: content.replace(b"\n", b"\r") + b"\n",
}
SAME: dict[str, Callable[[bytes], bytes]] = {
    "byte order mark": lambda content: BOM + content,
    "Windows' line ends": lambda content: content.replace(b"\n", b"\r\n"),
    "mixed line ends": lambda content: content.replace(b"\n", b"\r\n", 1),
    "byte order mark and Windows' line ends": lambda content: BOM + content.replace(b"\n", b"\r\n"),
}


def text_faults(kind: Kind, name: str, refused: str, missing: str, **other: str | None) -> Iterator[Case]:
    """Yields what is wrong with any text file.

    Args:
        kind: Of which it is.
        name: The file within the folder.
        refused: What refusals say: the file's name.
        missing: What is said where it is not there.
        other: Faults, by name with "_" for what no identifier has, that are told in other words (None: not asked).
    """
    for fault, change in DAMAGED.items():
        key = "".join(letter if letter.isalnum() else "_" for letter in fault)
        words = other.get(key, refused)
        if words is not None:
            yield Case(kind, f"{name}, {fault}", changed(name, change), words)
    for fault, change in SAME.items():
        yield Case(kind, f"{name}, {fault}", changed(name, change))
    yield Case(kind, f"{name}, a link to it", linked(name))
    for fault, spoil in {"is gone": gone, "a folder instead": folder_instead, "a dangling link": dangling}.items():
        yield Case(kind, f"{name}, {fault}", spoil(name), missing)
