import os
import shutil

import numpy as np
import pytest

from src.core.artefact import SERVED, Kind, read_manifest, writing
from src.core.errors import UserError
from src.serve.files import ServedFiles, newest_served
from tests.serve.served import remade


@pytest.fixture
def folder(sasrec_folder, tmp_path):
    """A copy that may be damaged."""
    return shutil.copytree(sasrec_folder, tmp_path / "tiny" / "sasrec-0123")


def files_of(folder) -> list[str]:
    return sorted(read_manifest(folder)["files"])


def test_every_file_counts_and_a_flipped_byte_a_cut_or_a_gap_is_refused_by_name(folder):
    assert len(files_of(folder)) == 7
    for name in files_of(folder):
        path = folder / name
        content = path.read_bytes()
        for wrong in (content[:-1], content[:9] + bytes([content[9] ^ 1]) + content[10:], b""):
            path.write_bytes(wrong)
            with pytest.raises(UserError, match=rf"{name} has changed since it was written"):
                ServedFiles.load(folder)
        path.unlink()
        with pytest.raises(UserError, match=rf"The served model in .* lacks {name}: make it again"):
            ServedFiles.load(folder)
        path.write_bytes(content)
    assert ServedFiles.load(folder).num_items == 15


def test_a_folder_of_something_else_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"is no artefact of this program: it has no manifest\.json"):
        ServedFiles.load(tmp_path / "nowhere")
    with writing(tmp_path / "student", Kind("student", 2), {}):
        pass
    with pytest.raises(UserError, match="holds no served model but student"):
        ServedFiles.load(tmp_path / "student")
    with writing(tmp_path / "old", SERVED, {"dataset": "tiny", "history_length": 6}):
        pass
    with pytest.raises(UserError, match="lacks student_is_distilled"):
        ServedFiles.load(tmp_path / "old")


def test_the_version_changes_with_the_files_and_with_nothing_else(sasrec_folder, tmp_path):
    version = ServedFiles.load(sasrec_folder).version
    assert len(version) == 16 and int(version, 16) >= 0
    assert ServedFiles.load(remade(sasrec_folder, tmp_path / "other", {3: 1.0})).version != version
    assert ServedFiles.load(remade(sasrec_folder, tmp_path / "moved", seed=7)).version == version


def test_items_and_users_are_found_by_raw_id_alone(sasrec_folder):
    files = ServedFiles.load(sasrec_folder)
    assert [files.item(raw_id) for raw_id in files.raw_ids] == list(range(1, 16))
    assert [files.item(unknown) for unknown in ("", "1", "0", " 10", "10 ", "-10")] == [0] * 6
    assert [files.history(unknown) for unknown in ("", "0", "13", " 1")] == [[]] * 4
    assert len(files.history(files.raw_user_ids[0])) == 3


# --- which one is newest


def made(folder, sasrec_folder, distilled: bool, seconds: int):
    """Returns a served model that was made at some time."""
    remade(sasrec_folder, folder, student_is_distilled=distilled)
    os.utime(folder / "manifest.json", (seconds, seconds))
    return folder


def test_the_newest_distilled_model_comes_before_any_other(tmp_path, sasrec_folder):
    old = made(tmp_path / "a" / "m-1", sasrec_folder, False, 100)
    assert newest_served(tmp_path) == old
    new = made(tmp_path / "a" / "m-0", sasrec_folder, False, 200)
    assert newest_served(tmp_path) == new
    distilled = made(tmp_path / "b" / "m-2", sasrec_folder, True, 50)
    assert newest_served(tmp_path) == distilled
    assert newest_served(tmp_path, "b") == distilled
    assert newest_served(tmp_path, "a") == new
    newer = made(tmp_path / "a" / "m-3", sasrec_folder, True, 60)
    assert newest_served(tmp_path) == newer


def test_what_a_killed_export_left_is_no_model(tmp_path, sasrec_folder):
    whole = made(tmp_path / "a" / "m", sasrec_folder, False, 100)
    shutil.copytree(whole, tmp_path / "a" / ".m.1a.writing")
    assert newest_served(tmp_path) == whole


def test_where_there_is_none_the_command_is_told_that_makes_one(tmp_path, sasrec_folder):
    for dataset in (None, "tiny"):
        with pytest.raises(UserError, match=r"There is no served model below .*: make one with `run_export_onnx`"):
            newest_served(tmp_path / "nowhere", dataset)
    made(tmp_path / "other" / "m", sasrec_folder, True, 100)
    with pytest.raises(UserError, match=r"below .*/tiny: make one"):
        newest_served(tmp_path, "tiny")


def test_vectors_are_read_where_they_are_looked_at(sasrec_folder):
    vectors = ServedFiles.load(sasrec_folder).item_vectors
    assert isinstance(vectors, np.memmap)
