import hashlib
import json
import stat
from pathlib import Path

import pytest

from src.core.artefact import Kind, digest, fingerprint, read_manifest, sha256_of, write_json, writing
from src.core.errors import UserError

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
    (folder / "manifest.json").unlink()
    assert digest(folder) == mark
    (folder / "notes.txt").write_bytes(b"one more\n")
    assert digest(folder) != mark


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
