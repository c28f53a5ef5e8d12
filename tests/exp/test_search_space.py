import pytest
from omegaconf import OmegaConf
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from src.core.errors import UserError
from src.exp.search_space import given_point, read_space, rounded, with_point
from tests.exp.roads import compose_with


def config(space, **train):
    return OmegaConf.create(
        {
            "student": {"name": "tiny", "model": {"width": 8}, "train": {"lr": 0.01, "schedule": "cosine", **train}},
            "search": {"space": space},
        }
    )


SPACE = {
    "student": {
        "model": {"width": {"low": 4, "high": 16, "step": 4}},
        "train": {"lr": {"low": 0.001, "high": 0.1, "log": True}, "schedule": {"choices": ["constant", "cosine"]}},
    }
}


def test_a_space_mirrors_the_config():
    assert read_space(config(SPACE)) == {
        "student.model.width": IntDistribution(4, 16, step=4),
        "student.train.lr": FloatDistribution(0.001, 0.1, log=True),
        "student.train.schedule": CategoricalDistribution(["constant", "cosine"]),
    }


def test_a_key_that_the_config_lacks_is_refused():
    with pytest.raises(UserError, match=r"student\.train\.momentum"):
        read_space(config({"student": {"train": {"momentum": {"low": 0.0, "high": 1.0}}}}))


@pytest.mark.parametrize(
    "leaf", [{"low": 1}, 3, {"choices": []}, {"low": 2.0, "high": 1.0}, {"choices": [1], "low": 1}]
)
def test_a_range_that_cannot_be_read_is_refused_by_name(leaf):
    with pytest.raises(UserError, match=r"search\.space\.student\.train\.lr="):
        read_space(config({"student": {"train": {"lr": leaf}}}))


def test_a_student_without_a_space_is_told_which_file_to_write():
    with pytest.raises(UserError, match=r"conf/search/space/sasrec_paper\.yaml"):
        read_space(compose_with("student=sasrec_paper"))


@pytest.mark.parametrize("student", ["sasrec", "gru4rec", "caser"])
def test_the_shipped_settings_lie_in_the_shipped_spaces(student):
    cfg = compose_with(f"student={student}")
    space = read_space(cfg)
    assert set(given_point(cfg, space)) == set(space)


def test_settings_outside_the_space_are_no_point_of_it():
    assert given_point(config(SPACE, lr=0.5), read_space(config(SPACE))) is None
    assert given_point(config(SPACE, schedule="linear"), read_space(config(SPACE))) is None


def test_a_point_changes_a_copy():
    cfg = config(SPACE)
    changed = with_point(cfg, {"student.train.lr": 0.02})
    assert (cfg.student.train.lr, changed.student.train.lr, changed.student.model.width) == (0.01, 0.02, 8)


def test_points_have_as_many_digits_as_a_person_writes():
    assert rounded({"lr": 0.0012345, "dropout": 0.15000000000000002, "blocks": 2, "schedule": "cosine"}) == {
        "lr": 0.00123,
        "dropout": 0.15,
        "blocks": 2,
        "schedule": "cosine",
    }
