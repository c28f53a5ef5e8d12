from typing import Any

import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from src.core.errors import UserError
from src.core.settings_reading import changed
from src.exp.program.settings import RunSettings
from src.exp.studies.search_space import given_point, read_space, rounded
from src.student.choices import STUDENTS
from tests.exp.keys import composed

SPACE = {
    "student": {
        "model": {"hidden_size": {"low": 4, "high": 64, "step": 4}},
        "train": {"lr": {"low": 0.001, "high": 0.1, "log": True}, "lr_schedule": {"choices": ["constant", "cosine"]}},
    }
}


def searched(space: dict[str, Any] | None, student: str = "sasrec_paper", **values: Any) -> RunSettings:
    """Settings of a student without a space of its own."""
    return changed(composed(f"student={student}"), {"search.space": space, **values})


def test_a_space_mirrors_the_config():
    assert read_space(searched(SPACE)) == {
        "student.model.hidden_size": IntDistribution(4, 64, step=4),
        "student.train.lr": FloatDistribution(0.001, 0.1, log=True),
        "student.train.lr_schedule": CategoricalDistribution(["constant", "cosine"]),
    }


def test_a_key_that_the_config_lacks_is_refused():
    with pytest.raises(UserError, match=r"student\.train\.momentum"):
        read_space(searched({"student": {"train": {"momentum": {"low": 0.0, "high": 1.0}}}}))


@pytest.mark.parametrize(
    "leaf", [{"low": 1}, 3, {"choices": []}, {"low": 2.0, "high": 1.0}, {"choices": [1], "low": 1}]
)
def test_a_range_that_cannot_be_read_is_refused_by_name(leaf):
    with pytest.raises(UserError, match=r"search\.space\.student\.train\.lr="):
        read_space(searched({"student": {"train": {"lr": leaf}}}))


@pytest.mark.parametrize("space", [None, {}])
def test_a_student_without_a_space_is_told_which_file_to_write(space):
    with pytest.raises(UserError, match=r"conf/search/space/sasrec_paper\.yaml"):
        read_space(searched(space))


# --- over a shipped space


def test_ranges_stand_beside_those_that_are_shipped():
    shipped = read_space(searched(None, "sasrec"))
    more = read_space(searched({"student": {"train": {"warmup_share": {"low": 0.0, "high": 0.5}}}}, "sasrec"))
    assert more == shipped | {"student.train.warmup_share": FloatDistribution(0.0, 0.5)}


def test_a_range_takes_the_place_of_the_one_that_is_shipped():
    shipped = read_space(searched(None, "sasrec"))
    other = read_space(searched({"student": {"train": {"lr": {"low": 0.001, "high": 0.002}}}}, "sasrec"))
    assert shipped["student.train.lr"] == FloatDistribution(0.0005, 0.01, log=True)
    assert other == shipped | {"student.train.lr": FloatDistribution(0.001, 0.002, log=True)}


def test_choices_take_the_place_of_a_range_that_is_shipped_and_the_other_way_round():
    train = {"lr": {"choices": [0.1, 0.01]}, "weight_decay": {"low": 0.0, "high": 0.1}}
    other = read_space(searched({"student": {"train": train}}, "sasrec"))
    assert other["student.train.lr"] == CategoricalDistribution([0.1, 0.01])
    assert other["student.train.weight_decay"] == FloatDistribution(0.0, 0.1)


@pytest.mark.parametrize(
    ("none", "gone"),
    [
        ({"student": {"train": {"lr": None}}}, {"student.train.lr"}),
        ({"student": {"model": None}}, {f"student.model.{name}" for name in (
            "history_length", "hidden_size", "num_blocks", "num_heads", "dropout",
        )}),
    ],
)  # fmt: skip
def test_null_takes_a_shipped_range_or_a_group_of_them_away(none, gone):
    shipped, left = read_space(searched(None, "sasrec")), read_space(searched(none, "sasrec"))
    assert left == {key: shipped[key] for key in shipped.keys() - gone}


@pytest.mark.parametrize("student", ["sasrec", "gru4rec", "caser"])
def test_the_shipped_settings_lie_in_the_shipped_spaces(student):
    settings = composed(f"student={student}")
    space = read_space(settings)
    assert set(given_point(settings, space)) == set(space)


def test_only_students_of_papers_have_no_space():
    for student in STUDENTS:
        if not student.endswith("_paper"):
            assert read_space(composed(f"student={student}"))


# --- points


def test_settings_outside_the_space_are_no_point_of_it():
    space = read_space(searched(SPACE))
    assert given_point(searched(SPACE), space) == {
        "student.model.hidden_size": 64, "student.train.lr": 0.001, "student.train.lr_schedule": "constant",
    }  # fmt: skip
    assert given_point(searched(SPACE, **{"student.train.lr": 0.5}), space) is None
    constant = {"student": {"train": {"lr_schedule": {"choices": ["cosine"]}}}}
    assert given_point(searched(constant), read_space(searched(constant))) is None


def test_a_point_changes_a_copy():
    settings = searched(SPACE)
    other = changed(settings, rounded({"student.train.lr": 0.02, "student.model.hidden_size": 8}))
    assert (settings.student.train.lr, settings.student.model.hidden_size) == (0.001, 64)
    assert (other.student.train.lr, other.student.model.hidden_size) == (0.02, 8)
    assert other.student.model.history_length == settings.student.model.history_length


def test_points_have_as_many_digits_as_a_person_writes():
    assert rounded({"lr": 0.0012345, "dropout": 0.15000000000000002, "blocks": 2, "schedule": "cosine"}) == {
        "lr": 0.00123,
        "dropout": 0.15,
        "blocks": 2,
        "schedule": "cosine",
    }
