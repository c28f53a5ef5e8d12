import json
from pathlib import Path

import pytest

from src.core.errors import UserError
from src.evaluation.metrics_files import read_models

FILE = {
    "model": "Baseline (sasrec)",
    "dataset_fingerprint": "0123",
    "num_items": 9,
    "split": "test",
    "filter_seen": False,
    "example_id": [4, 5],
    "user": [0, 1],
    "rank": [1, 3],
}


@pytest.fixture
def put(tmp_path):
    """Writes a metrics file that differs from `FILE` in what is given, and returns its path."""

    def write(name: str, **differences) -> Path:
        (tmp_path / name).write_text(json.dumps({**FILE, **differences}))
        return tmp_path / name

    return write


def test_models_with_one_and_with_several_seeds(put):
    runs = [put("a", rank=[1, 2]), [put("b0", model="Distilled", rank=[2, 2]), put("b1", model="Distilled")]]
    ranked = read_models(runs, None)
    first, second = ranked.models
    assert (first.name, second.name, ranked.num_items) == ("Baseline (sasrec)", "Distilled", 9)
    assert ranked.user.tolist() == [0, 1]
    assert [rank.tolist() for rank in first.ranks] == [[1, 2]]
    assert [rank.tolist() for rank in second.ranks] == [[2, 2], [1, 3]]


def test_models_are_called_as_the_settings_say(put):
    models = read_models([put("a"), put("b")], ["x", "y"]).models
    assert [model.name for model in models] == ["x", "y"]


@pytest.mark.parametrize(
    ("differences", "words"),
    [
        ({"dataset_fingerprint": "4567"}, "differ in the dataset: evaluate"),
        ({"num_items": 10}, "differ in the catalogue: evaluate"),
        ({"split": "val"}, "differ in the split: evaluate"),
        ({"filter_seen": True}, "differ in metrics.filter_seen: evaluate"),
        ({"example_id": [4, 6]}, "differ in the examples: evaluate"),
        ({"user": [0, 0]}, "differ in the users: evaluate"),
        ({"split": "val", "example_id": [1, 2]}, "differ in the split, the examples: evaluate"),
    ],
)
def test_runs_that_cannot_be_compared_are_refused(put, differences, words):
    runs = [put("a"), [put("b0", model="other"), put("b1", model="other", **differences)]]
    with pytest.raises(UserError, match=f"a and .*b1 cannot be compared, they {words}"):
        read_models(runs, None)


@pytest.mark.parametrize("names", [None, ["x"], ["x", "x"], ["x", "y", "z"]])
def test_models_need_as_many_different_names(put, names):
    with pytest.raises(UserError, match=r"The 2 models of compare.runs would be called .*compare.names="):
        read_models([put("a"), put("b")], names)


def test_one_model_is_nothing_to_compare(put):
    for runs in ([], [put("a")]):
        with pytest.raises(UserError, match=r"compare.runs needs metrics files of at least two models"):
            read_models(runs, None)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("not JSON", "which is not JSON"),
        ("1", "lacks model, dataset_fingerprint"),
        (json.dumps({key: value for key, value in FILE.items() if key != "rank"}), "lacks rank: give"),
        (json.dumps({**FILE, "rank": [1]}), "holds 2 of example_id, 2 of user, 1 of rank, and each example has one"),
    ],
)
def test_what_is_no_metrics_file_is_refused(put, tmp_path, text, words):
    (tmp_path / "b").write_text(text)
    with pytest.raises(UserError, match=words):
        read_models([put("a"), tmp_path / "b"], None)


def test_what_is_not_there_is_named(put, tmp_path):
    with pytest.raises(UserError, match=r"compare.runs names .*nowhere.json, which is not there"):
        read_models([put("a"), tmp_path / "nowhere.json"], None)
    with pytest.raises(UserError, match="which is not JSON"):
        read_models([put("a"), tmp_path], None)


# --- several trainings of one model


def student(seed: int, **sources: str) -> dict:
    return {"of": "student", "seed": seed, "settings": "lr 0.1", "from": sources}


def teacher(seed: int, user_encoder: str) -> dict:
    return {"of": "teacher", "seed": seed, "settings": "r 8", "from": {"user encoder": user_encoder}}


@pytest.mark.parametrize(
    ("trainings", "told"),
    [
        ([student(0)], None),
        ([student(0), student(1), student(2)], "3 student seeds"),
        ([student(0, teacher="a"), student(1, teacher="a")], "2 student seeds, one teacher"),
        ([student(0, teacher="a"), student(1, teacher="b")], "2 seeds of student and teacher"),
        ([student(0, teacher="a"), student(0, teacher="b")], "one student seed, 2 teachers"),
        ([student(0, teacher="a"), student(1, teacher="a"), student(1, teacher="b")], "2 student seeds, 2 teachers"),
        ([teacher(0, "a"), teacher(1, "a")], "2 teacher seeds, one user encoder"),
        ([teacher(0, "a"), teacher(1, "b")], "2 seeds of teacher and user encoder"),
        ([None, student(1)], "2 trainings"),
    ],
)
def test_what_a_deviation_is_over_is_told(put, trainings, told):
    group = [put(f"b{place}", model="other", training=training) for place, training in enumerate(trainings)]
    first, other = read_models([put("a"), group], None).models
    assert (first.trainings, other.trainings) == (None, told)


def test_the_same_training_does_not_count_twice(put):
    group = [put("b0", model="other", training=student(1, teacher="a")), put("b1", model="other", training=student(2))]
    again = put("b2", model="other", training=student(1, teacher="a"))
    with pytest.raises(UserError, match=r"b0 and .*b2 have the same seed and the same teacher"):
        read_models([put("a"), [*group, again]], None)
    with pytest.raises(UserError, match=r"b1 and .*b1 have the same seed"):
        read_models([put("a"), [group[1], group[1]]], None)


def test_models_with_other_settings_are_not_averaged_as_seeds_of_one(put):
    wider = put("b1", model="other", training={**student(1), "settings": "lr 0.2"})
    with pytest.raises(UserError, match=r"b0 and .*b1 are of models with different settings"):
        read_models([put("a"), [put("b0", model="other", training=student(0)), wider]], None)


def test_two_models_are_not_averaged_as_one(put):
    with pytest.raises(UserError, match=r"A list in compare.runs holds Baseline \(sasrec\) and other"):
        read_models([put("a"), [put("b0"), put("b1", model="other")]], None)
