import hashlib
import json
import logging
import os
import re
import signal
import stat
import subprocess
import time
from pathlib import Path

import polars as pl
import pytest
import torch
from safetensors.torch import save_file

from src.core.artefact import (
    Kind,
    digest,
    digest_as_it_is,
    fingerprint,
    making,
    opened,
    read_manifest,
    sha256_of,
    write_json,
    writing,
)
from src.core.errors import UserError
from tests.processes import child

TEST = Kind("test", 7)


def test_a_fingerprint_changes_with_values_and_not_with_the_order_of_keys():
    mark = fingerprint("student", {"lr": 0.1, "size": 64})
    assert len(mark) == 16 and int(mark, 16) >= 0
    assert mark == fingerprint("student", {"size": 64, "lr": 0.1})
    others = [("student", {"lr": 0.2, "size": 64}), ("student", {"lr": 0.1}), ("teacher", {"lr": 0.1, "size": 64})]
    others += [("student", {"lr": 0.1, "size": "64"}), ({"lr": 0.1, "size": 64}, "student"), ("student",)]
    assert len({mark, *(fingerprint(*parts) for parts in others)}) == 1 + len(others)


def test_the_sha256_of_a_file_is_the_one_of_its_bytes(tmp_path):
    content = bytes(range(256)) * 5000  # more than one block of 1 MiB
    (tmp_path / "file").write_bytes(content)
    assert sha256_of(tmp_path / "file") == hashlib.sha256(content).hexdigest()


def test_a_folder_appears_whole_with_what_the_block_added_to_the_manifest(tmp_path):
    folder, manifest = tmp_path / "deep" / "artefact", {"of": "a test"}
    with writing(folder, TEST, manifest) as temporary:
        (temporary / "file").write_text("content")
        manifest["counts"] = 3
        assert not folder.exists()
    assert sorted(path.name for path in folder.iterdir()) == ["file", "manifest.json"]
    file = {"bytes": 7, "sha256": hashlib.sha256(b"content").hexdigest()}
    about = {"kind": "test", "format": 7, "artefact": "artefact", "of": "a test", "counts": 3, "files": {"file": file}}
    assert read_manifest(folder) == about
    assert stat.S_IMODE(folder.stat().st_mode) == 0o755
    assert [path.name for path in folder.parent.iterdir()] == ["artefact"]


def test_a_second_writing_replaces_every_file_of_the_first(tmp_path):
    for name in ("old", "new"):
        with writing(tmp_path / "artefact", TEST, {"name": name}) as temporary:
            (temporary / name).touch()
    assert sorted(path.name for path in (tmp_path / "artefact").iterdir()) == ["manifest.json", "new"]


@pytest.mark.parametrize("manifest", [{}, {"not JSON": object()}], ids=["Ctrl-C", "the manifest cannot be"])
def test_a_failure_leaves_nothing_behind_and_the_earlier_artefact_as_it_was(tmp_path, manifest):
    with writing(tmp_path / "earlier", TEST, {"version": 1}) as temporary:
        (temporary / "file").write_text("earlier")
    for name in ("earlier", "absent"):
        with (
            pytest.raises(TypeError if manifest else KeyboardInterrupt),
            writing(tmp_path / name, TEST, manifest) as temporary,
        ):
            (temporary / "file").write_text("half")
            if not manifest:
                raise KeyboardInterrupt
    assert [path.name for path in tmp_path.iterdir()] == ["earlier"]
    assert (tmp_path / "earlier" / "file").read_text() == "earlier"
    assert read_manifest(tmp_path / "earlier")["version"] == 1


@pytest.fixture
def write(tmp_path):
    """Writes an artefact of these files, with `about` in its manifest, and returns its folder."""

    def write(about: str, files: dict[str, bytes]) -> Path:
        with writing(tmp_path / about, TEST, {"about": about}) as temporary:
            for name, content in files.items():
                (temporary / name).write_bytes(content)
        return tmp_path / about

    return write


FILES = {"weights": b"\0\x01\xff", "notes.txt": b"line\n", "empty": b""}


def test_a_digest_is_of_the_files_and_not_of_the_rest_of_the_manifest(write):
    mark = digest(write("first", FILES))
    assert len(mark) == 16 and int(mark, 16) >= 0
    assert digest(write("second", dict(reversed(FILES.items())))) == mark


def test_a_digest_changes_with_any_byte_of_any_file_and_with_any_name(write):
    others = [
        {**FILES, name: content[:place] + b"!" + content[place + 1 :]}
        for name, content in FILES.items()
        for place in range(len(content) + 1)
    ]
    others += [{**FILES, "weights": FILES["notes.txt"], "notes.txt": FILES["weights"]}, {**FILES, "another": b""}]
    others += [{name: FILES[name] for name in ("weights", "notes.txt")}]
    others += [{name.replace("notes", "note"): content for name, content in FILES.items()}]
    marks = {digest(write(str(place), files)) for place, files in enumerate([FILES, *others])}
    assert len(marks) == 1 + len(others) == 1 + 11 + 4


def test_a_folder_that_this_program_did_not_write_has_the_digest_of_its_files_too(write):
    folder = write("artefact", FILES)
    mark = digest(folder)
    assert digest_as_it_is(folder) == mark
    (folder / "manifest.json").unlink()
    assert digest_as_it_is(folder) == mark
    (folder / "notes.txt").write_bytes(b"one more\n")
    assert digest_as_it_is(folder) != mark


def test_a_digest_changes_with_what_the_inputs_were(tmp_path):
    """A calibration of another teacher may be the same file; what is made of it is not the same."""
    marks = set()
    for inputs in ({}, {"teacher": "0123"}, {"teacher": "4567"}):
        with writing(tmp_path / "artefact", TEST, {"inputs": inputs}) as temporary:
            (temporary / "file").write_text("the same")
        marks |= {digest(tmp_path / "artefact"), digest_as_it_is(tmp_path / "artefact")}
    assert len(marks) == 3


def test_a_folder_without_a_readable_manifest_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"has no manifest\.json"):
        read_manifest(tmp_path)
    (tmp_path / "manifest.json").write_text('{"kind":\n "stud')
    with pytest.raises(UserError, match="line 2, is not JSON"):
        read_manifest(tmp_path)


def test_json_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "time.json"
    write_json(path, {"title": "Amélie", "n": [1, 2]})
    assert json.loads(path.read_text(encoding="utf-8")) == {"title": "Amélie", "n": [1, 2]}
    with pytest.raises(TypeError):
        write_json(path, {"n": object()})
    assert json.loads(path.read_text(encoding="utf-8"))["n"] == [1, 2]
    assert [file.name for file in tmp_path.iterdir()] == ["time.json"]


# --- a process that is killed, a disk that is full, two at once


def test_an_artefact_that_cannot_take_its_place_leaves_the_earlier_one_there(tmp_path, monkeypatch):
    folder = tmp_path / "artefact"
    with writing(folder, TEST, {"version": 1}) as temporary:
        (temporary / "file").write_text("earlier")
    rename = Path.rename

    def fail(path: Path, to: Path) -> Path:
        if path.name.endswith(".writing"):
            raise OSError("the network drive is gone")
        return rename(path, to)

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(OSError, match="network drive"), writing(folder, TEST, {"version": 2}):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["artefact"]
    assert (folder / "file").read_text() == "earlier" and read_manifest(folder)["version"] == 1


def test_what_a_killed_process_left_is_removed_and_what_it_put_aside_comes_back(tmp_path):
    """Killed between the two renamings; beside it something of another artefact that is being written."""
    (tmp_path / ".artefact.1a.writing").mkdir()
    (tmp_path / ".artefact.1a.replaced").mkdir()
    (tmp_path / ".artefact.1a.replaced" / "file").write_text("earlier")
    (tmp_path / ".artefact-2.1b.writing").mkdir()
    with making(tmp_path / "artefact"):
        assert (tmp_path / "artefact" / "file").read_text() == "earlier"
    assert {path.name for path in tmp_path.iterdir()} == {
        "artefact", ".artefact-2.1b.writing", ".artefact.lock", ".artefact.owner",
    }  # fmt: skip


def test_an_earlier_artefact_that_was_put_aside_does_not_replace_the_new_one(tmp_path):
    for name in ("artefact", ".artefact.1a.replaced"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
    with making(tmp_path / "artefact"):
        assert (tmp_path / "artefact" / "file").read_text() == "artefact"
    assert not (tmp_path / ".artefact.1a.replaced").exists()


def test_one_process_at_a_time_makes_an_artefact_and_the_others_say_whom_they_wait_for(tmp_path):
    """Each adds a line where it began and where it ended: no two are ever in between. One is killed meanwhile."""
    told = tmp_path / "told"

    def make() -> None:
        logging.basicConfig(filename=tmp_path / "log", level=logging.INFO, force=True)
        with making(tmp_path / "artefact"):
            for what in ("begins", "ends"):
                with told.open("a") as file:
                    file.write(f"{os.getpid()} {what}\n")
                time.sleep(0.05)

    killed = child(make)
    while not told.is_file():
        time.sleep(0.01)
    waiting = [child(make) for _ in range(3)]
    assert killed(signal.SIGKILL) in (-signal.SIGKILL, 0)  # 0: on a busy machine it has come to its end
    assert [end(None) for end in waiting] == [0, 0, 0]
    first, *lines = told.read_text().splitlines()
    lines = [line for line in lines if line.split()[0] != first.split()[0]]  # it may have come to its end
    assert len(lines) == 6
    for begins, ends in zip(lines[::2], lines[1::2], strict=True):
        assert (begins.split()[1], ends.split()[1]) == ("begins", "ends") and begins.split()[0] == ends.split()[0]
    assert re.search(r"process \d+ on \S+ makes .*artefact now: waiting", (tmp_path / "log").read_text())


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 200 KiB."""
    (tmp_path / "disk").mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", tmp_path / "disk"], capture_output=True
    )
    if mounted.returncode:
        pytest.skip(f"a small disk cannot be mounted here ({mounted.stderr.decode().strip()})")
    yield tmp_path / "disk"
    subprocess.run(["umount", tmp_path / "disk"], check=True)


NUMBERS = torch.rand(100_000, generator=torch.Generator().manual_seed(0))
SAVES = {
    "safetensors": lambda path: save_file({"a": NUMBERS}, path),
    "torch": lambda path: torch.save(NUMBERS, path),
    "text": lambda path: path.write_text("a" * 300_000),
    "parquet": lambda path: pl.DataFrame({"a": NUMBERS.numpy()}).write_parquet(path),
}


@pytest.mark.parametrize("save", SAVES)
def test_a_full_disk_is_told_with_what_did_not_fit(small_disk, save):
    with (
        pytest.raises(UserError, match=r"did not fit on the disk, which has [\d.,]+ MiB left: free some space and"),
        writing(small_disk / "artefact", TEST, {}) as temporary,
    ):
        SAVES[save](temporary / "file")
    assert list(small_disk.iterdir()) == []


def test_other_faults_are_not_said_to_be_a_full_disk(tmp_path):
    with pytest.raises(RuntimeError, match="what"), writing(tmp_path / "artefact", TEST, {}):
        raise RuntimeError("what")


# --- what is read is what was written


def test_what_was_written_is_opened(write):
    folder = write("artefact", FILES)
    assert opened(folder, TEST, "about") == read_manifest(folder)


@pytest.mark.parametrize("name", ["weights", "notes.txt"])
def test_a_flipped_byte_a_cut_and_a_swapped_or_missing_file_are_refused_by_name(write, name):
    other = "notes.txt" if name == "weights" else "weights"
    content = FILES[name]
    wrong = [content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :] for place in range(len(content))]
    for number, bad in enumerate([*wrong, content[:-1], content + b"!", FILES[other], b""]):
        folder = write(f"wrong-{number}", FILES)
        (folder / name).write_bytes(bad)
        with pytest.raises(UserError, match=rf"wrong-{number}/{name} has changed since it was written"):
            opened(folder, TEST)
    folder = write("missing", FILES)
    (folder / name).unlink()
    with pytest.raises(UserError, match=rf"The test in .*missing lacks {name}: make it again"):
        opened(folder, TEST)


def test_an_artefact_of_another_kind_or_format_is_refused(write):
    folder = write("artefact", FILES)
    with pytest.raises(UserError, match=r"holds no student but test: give the folder of a student\."):
        opened(folder, Kind("student", 7))
    with pytest.raises(UserError, match="has format 7, and this version of the program reads format 8"):
        opened(folder, Kind("test", 8))
    with pytest.raises(UserError, match=r"manifest\.json lacks seed, teacher"):
        opened(folder, TEST, "about", "seed", "teacher")
