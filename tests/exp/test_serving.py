"""A student's way from its training to an answer, by the commands."""

import shutil
from pathlib import Path

import polars as pl
import pytest

from src.core.artefact import read_manifest
from src.serve.events import Event, Events
from src.serve.files import newest_served
from src.serve.recommender import Recommender
from tests.exp.roads import raw_log, start_program

pytestmark = pytest.mark.slow
BASELINE = "serve.student=baseline"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder in which a baseline has been trained and made a served model."""
    folder = tmp_path_factory.mktemp("serving")
    raw = raw_log(folder / "raw")
    for command in ("run_student_baseline", "run_export_onnx"):
        done = start_program(command, raw, folder, folder / command, BASELINE)
        assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def served(place):
    (folder,) = (place / "served_dir" / "movielens").glob("[!.]*")
    return folder


def test_a_served_model_tells_what_it_was_made_from_and_that_it_ranks_as_pytorch_does(place, served):
    manifest = read_manifest(served)
    (student,) = (place / "models_dir" / "movielens").glob("baseline-*")
    assert manifest["student"] == student.name and served.name.startswith(f"{student.name}-")
    assert manifest["student_is_distilled"] is False
    parity = manifest["result"]["parity"]
    assert parity["largest_difference"] <= 1e-4 and parity["onnx"] == pytest.approx(parity["pytorch"])


def test_a_student_that_was_not_trained_is_not_served_and_the_command_that_trains_it_is_told(place):
    done = start_program("run_export_onnx", place / "raw", place, place / "no_student", BASELINE, "student.seed=7")
    assert done.returncode == 2 and "run_student_baseline" in done.stderr


def test_items_that_came_after_the_training_are_recommended_by_their_texts(place, served):
    table = place / "new.csv"
    known = Recommender.load(served).files
    rows = [
        f"{known.raw_ids[0]},{known.titles[0]},Drama",
        "n1,Film No. 9 (1958),Drama",
        "n2,,",
        "n3,Another (2026),Comedy",
    ]
    table.write_text("item,title,genres\n" + "\n".join(rows) + "\n")
    new = [BASELINE, f"serve.new_items={table}", "serve.new_items_texts=[genres]", "serve.new_items_boost=50"]
    done = start_program("run_export_onnx", place / "raw", place, place / "new", *new)
    assert done.returncode == 0, done.stderr
    assert "2 new items; 1 are in the catalogue already, 1 have no text and are passed over" in done.stderr
    folder = Path(done.stdout.splitlines()[-1])
    files = Recommender.load(folder).files
    assert files.raw_ids == [*known.raw_ids, "n1", "n3"] and files.titles[-2:] == [
        "Film No. 9 (1958)",
        "Another (2026)",
    ]
    assert files.counts[-2:].tolist() == [0, 0]
    assert read_manifest(folder)["new_items"] == 2
    assert "The last 2 items came after its training" in (folder / "MODEL_CARD.md").read_text()
    (answer,) = Recommender.load(folder).recommend(histories=[[known.raw_ids[3]]], k=3)
    assert {each.raw_id for each in answer.items[:2]} == {"n1", "n3"}  # 50 is more than any other score
    (read,) = Recommender.load(folder).recommend(histories=[["n1"]], k=3)
    assert read.by == "model"
    table.write_text("item,title\n" + f"{known.raw_ids[0]},again\n")
    done = start_program("run_export_onnx", place / "raw", place, place / "none", BASELINE, f"serve.new_items={table}")
    assert done.returncode == 0 and "0 new items; 1 are in the catalogue already" in done.stderr
    none_new = Path(done.stdout.splitlines()[-1])
    assert read_manifest(none_new)["new_items"] == 0 and Recommender.load(none_new).files.raw_ids == known.raw_ids
    shutil.rmtree(none_new)
    shutil.rmtree(folder)  # the newest is served


def test_every_user_of_the_log_gets_a_row_for_each_rank(place, served):
    output = place / "lists.csv"
    done = start_program("run_recommend", place / "raw", place, place / "lists", f"recommend.output={output}", BASELINE)
    assert done.returncode == 0, done.stderr
    rows = pl.read_csv(output, schema_overrides={"user": pl.String, "item": pl.String})
    recommender = Recommender.load(served)
    users = recommender.files.raw_user_ids
    for user, answer in zip(users, recommender.recommend(users=users, k=10), strict=True):
        assert rows.filter(pl.col("user") == user)["item"].to_list() == [each.raw_id for each in answer.items]


def test_a_teacher_that_was_not_trained_recommends_nothing_and_the_command_that_trains_it_is_told(place):
    output = f"recommend.output={place / 'teacher.csv'}"
    done = start_program("run_recommend", place / "raw", place, place / "teacher", output, "recommend.by=teacher")
    assert done.returncode == 2 and "run_teacher" in done.stderr and "Traceback" not in done.stderr
    assert not (place / "teacher.csv").exists()


def test_without_a_served_model_the_command_that_makes_one_is_told(tmp_path):
    done = start_program("run_serve", tmp_path, tmp_path, tmp_path / "run")
    assert done.returncode == 2 and "run_export_onnx" in done.stderr and "Traceback" not in done.stderr


def test_a_nightly_update_trains_on_the_events_and_a_running_service_would_take_its_model(place, served):
    known = Recommender.load(served).files
    user = known.raw_user_ids[0]
    address = f"sqlite:///{place / 'events.db'}"
    update = ["run_update", place / "raw", place]
    Events(address).close()
    done = start_program(*update, place / "nothing", BASELINE, f"server.events={address}")
    assert done.returncode == 0 and "nothing to train on" in done.stderr
    store = Events(address)
    store.add([Event(user, known.raw_ids[0], 4e9), Event(user, known.raw_ids[1], 4e9 + 1)])
    store.close()
    (place / "later.csv").write_text("item,title,genres\nn1,Fresh (2026),Drama\n")
    new = [f"serve.new_items={place / 'later.csv'}", "serve.new_items_texts=[genres]"]
    done = start_program(*update, place / "update", BASELINE, f"server.events={address}", *new)
    assert done.returncode == 0, done.stderr
    folder = Path(done.stdout.splitlines()[-1])
    assert newest_served(place / "served_dir", "movielens", distilled=False) == folder != served
    after = Recommender.load(folder).files
    assert after.history(user)[-2:] == [after.item(known.raw_ids[0]), after.item(known.raw_ids[1])]
    assert len(after.history(user)) == len(known.history(user)) + 2
    assert after.raw_ids[-1] == "n1" and set(after.raw_ids[:-1]) == set(known.raw_ids)
    done = start_program("run_export_onnx", place / "raw", place, place / "back", BASELINE)
    assert newest_served(place / "served_dir", "movielens", distilled=False) == served  # asked for last
    done = start_program(*update, place / "again", BASELINE, f"server.events={address}", *new)
    assert done.returncode == 0 and Path(done.stdout.splitlines()[-1]) == folder
    assert newest_served(place / "served_dir", "movielens", distilled=False) == folder
    shutil.rmtree(folder)
