import os
import shutil
from dataclasses import replace

import numpy as np
import pytest

from src.core.artefact import SERVED, Kind, read_manifest, writing
from src.core.errors import UserError
from src.serve.files import ServedFiles, newest_served
from src.serve.recommender import Recommender
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


def test_histories_of_many_users_are_those_of_each(sasrec_folder):
    files = replace(ServedFiles.load(sasrec_folder), offsets=np.array([0, 3, 3, 4]), item_log=np.array([5, 6, 7, 8]))
    first, without, last = files.raw_user_ids[:3]

    users = files.users_with_history([last, "nobody", first, without, last])

    assert users.tolist() == [2, -1, 0, -1, 2]
    assert files.lengths(users).tolist() == [1, 0, 3, 0, 1]
    assert files.histories(users[users >= 0]).tolist() == [[8, 0, 0], [5, 6, 7], [8, 0, 0]]
    assert files.histories(np.array([0, 2]), newest=2).tolist() == [[6, 7], [8, 0]]
    assert files.histories(np.array([2]), newest=2).tolist() == [[8]]


# --- which one is newest


def made(folder, sasrec_folder, distilled: bool, seconds: int):
    """Returns a served model that was made at some time."""
    remade(sasrec_folder, folder, student_is_distilled=distilled)
    os.utime(folder / "manifest.json", (seconds, seconds))
    return folder


def test_the_newest_of_a_dataset_and_a_kind_is_found(tmp_path, sasrec_folder):
    made(tmp_path / "a" / "m-1", sasrec_folder, False, 100)
    new = made(tmp_path / "a" / "m-0", sasrec_folder, False, 200)
    distilled = made(tmp_path / "a" / "m-2", sasrec_folder, True, 50)
    made(tmp_path / "b" / "m-3", sasrec_folder, True, 300)
    made(tmp_path / "b" / "m-4", sasrec_folder, False, 300)
    assert newest_served(tmp_path, "a", distilled=False) == new
    assert newest_served(tmp_path, "a", distilled=True) == distilled


def test_what_a_killed_export_left_or_a_copy_has_not_finished_hides_no_model(tmp_path, sasrec_folder, caplog):
    whole = made(tmp_path / "a" / "m", sasrec_folder, False, 100)
    made(tmp_path / "a" / ".m.1a.writing", sasrec_folder, False, 200)
    for name, text in (("half", '{"kind": "served mo'), ("other", '{"kind": "student", "files": {}}')):
        (tmp_path / "a" / name).mkdir()
        (tmp_path / "a" / name / "manifest.json").write_text(text)
    for _ in range(2):
        assert newest_served(tmp_path, "a", distilled=False) == whole
    assert len(caplog.messages) == 2 and all("passed over" in told for told in caplog.messages)


def test_where_there_is_none_the_command_is_told_that_makes_one(tmp_path, sasrec_folder):
    made(tmp_path / "other" / "m", sasrec_folder, True, 100)
    made(tmp_path / "tiny" / "m", sasrec_folder, False, 100)
    told = r"no served model of a distilled student below .*/tiny: make one with `run_export_onnx`"
    with pytest.raises(UserError, match=told):
        newest_served(tmp_path, "tiny", distilled=True)


def test_what_was_read_stays_whatever_becomes_of_the_folder(folder, recommender):
    users, asked = recommender.files.raw_user_ids, {"histories": [["10", "20"]], "items": ["30", "40", "50"]}
    loaded = Recommender.load(folder)
    remade(folder, folder, {8: 100.0}, raw_ids=[f"new-{item}" for item in range(15)])
    assert loaded.recommend(users=users) == recommender.recommend(users=users)
    assert loaded.recommend(**asked) == recommender.recommend(**asked)
    assert loaded.similar("10") == recommender.similar("10")


def test_a_folder_that_changes_while_it_is_read_is_refused(folder):
    files = ServedFiles.load(folder)
    remade(folder, folder, {8: 100.0})
    with pytest.raises(UserError, match="has changed while it was read"):
        Recommender(files)


def test_a_link_is_called_by_what_it_names(folder, tmp_path):
    (tmp_path / "current").symlink_to(folder)
    assert ServedFiles.load(tmp_path / "current").name == "sasrec-0123"
