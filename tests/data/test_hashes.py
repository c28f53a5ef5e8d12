import hashlib
import os
import time
from pathlib import Path

import pytest

from src.core.artefact import sha256_of
from src.data import hashes
from src.data.hashes import COARSEST, FOLDER, remembered_sha256


@pytest.fixture
def reads(monkeypatch) -> list[Path]:
    """What is read, file by file; every file is large enough to be remembered."""
    found: list[Path] = []

    def counted(path: Path) -> str:
        found.append(path)
        return sha256_of(path)

    monkeypatch.setattr(hashes, "REMEMBERED_FROM", 0)
    monkeypatch.setattr(hashes, "sha256_of", counted)
    return found


@pytest.fixture
def later(monkeypatch) -> None:
    """As if whatever is written now were read some seconds after."""
    monkeypatch.setattr(hashes.time, "time_ns", lambda: time.clock_gettime_ns(time.CLOCK_REALTIME) + 2 * COARSEST)


def remembered(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    assert remembered_sha256(path, path.parent) == hashlib.sha256(content).hexdigest()
    return path


def test_a_file_is_read_once(tmp_path, reads, later):
    path = remembered(tmp_path / "log.csv", b"one")
    assert remembered_sha256(path, tmp_path) == hashlib.sha256(b"one").hexdigest()
    assert reads == [path]


def test_a_small_file_is_read_each_time_and_nothing_is_written(tmp_path, later):
    remembered(tmp_path / "log.csv", b"one")
    assert not (tmp_path / FOLDER).exists()


def rewritten_in_place(path: Path) -> None:
    """The same inode, size and time of modification; the time of change tells."""
    before = path.stat()
    path.write_bytes(b"two")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def put_in_its_place(path: Path) -> None:
    """The same size and time of modification, another inode."""
    before, other = path.stat(), path.with_name("other")
    other.write_bytes(b"two")
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.replace(path)


@pytest.mark.parametrize("change", [rewritten_in_place, put_in_its_place])
def test_other_contents_of_the_same_size_and_time_are_seen(tmp_path, reads, later, change):
    path = remembered(tmp_path / "log.csv", b"one")
    mtime = path.stat().st_mtime_ns
    change(path)
    assert path.stat().st_mtime_ns == mtime and path.stat().st_size == 3
    assert remembered_sha256(path, tmp_path) == hashlib.sha256(b"two").hexdigest()


def test_of_a_file_that_changed_just_now_nothing_is_kept(tmp_path, reads):
    """It may change again within the same tick of the clock."""
    path = remembered(tmp_path / "log.csv", b"one")
    assert not list((tmp_path / FOLDER).glob("*"))
    assert remembered_sha256(path, tmp_path) and len(reads) == 2


def test_of_a_file_that_changes_while_it_is_read_nothing_is_kept(tmp_path, monkeypatch, later):
    path = tmp_path / "log.csv"
    path.write_bytes(b"one")
    monkeypatch.setattr(hashes, "REMEMBERED_FROM", 0)
    monkeypatch.setattr(hashes, "sha256_of", lambda path: path.write_bytes(b"longer") and sha256_of(path))
    remembered_sha256(path, tmp_path)
    assert not list((tmp_path / FOLDER).glob("*"))


@pytest.mark.parametrize("note", [b"", b"[]", b'{"state": 1', b'{"sha256": "x"}'])
def test_a_torn_note_is_none(tmp_path, reads, later, note):
    path = remembered(tmp_path / "log.csv", b"one")
    (kept,) = (tmp_path / FOLDER).iterdir()
    kept.write_bytes(note)
    assert remembered_sha256(path, tmp_path) == hashlib.sha256(b"one").hexdigest()
    assert len(reads) == 2


def test_where_nothing_can_be_written_the_file_is_read_each_time(tmp_path, reads, later):
    (tmp_path / "file").write_text("")
    path = tmp_path / "log.csv"
    path.write_bytes(b"one")
    for _ in range(2):
        assert remembered_sha256(path, tmp_path / "file") == hashlib.sha256(b"one").hexdigest()
    assert len(reads) == 2
