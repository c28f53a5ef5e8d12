from inspect import signature

import pytest
import torch

from src.core.errors import UserError
from src.core.paths import CONF_DIR
from src.student.choices import LOSSES, STUDENTS
from src.student.factory import create_loss, create_student
from src.student.settings import LOSS_SETTINGS, MODEL_SETTINGS, LossSettings
from tests.student.students import NAMES, NUM_ITEMS, D, architecture, shipped, shipped_loss, student


def options(group: str) -> set[str]:
    return {path.stem for path in (CONF_DIR / group).glob("*.yaml")}


@pytest.mark.parametrize("name", NAMES)
def test_a_student_is_built_by_name(name):
    model = create_student(name, 15, architecture(name))
    assert type(model) is STUDENTS[name]
    assert (model.num_items, model.history_length) == (15, 6)


@pytest.mark.parametrize("option", sorted(options("student")))
def test_every_shipped_config_builds_the_student_it_names(option):
    settings = shipped(option)
    model = create_student(settings.name, 15, settings.model.plain())
    assert option in {settings.name, *(f"{settings.name}_{dataset}" for dataset in options("dataset"))}
    assert model.item_table().shape == (16, settings.model.hidden_size)


def test_every_student_has_its_config():
    of_a_dataset = {f"{name}_{dataset}" for name in STUDENTS for dataset in options("dataset")}
    assert options("student") - of_a_dataset == set(STUDENTS)


@pytest.mark.parametrize("name", list(STUDENTS))
def test_a_student_says_what_its_settings_are(name):
    assert STUDENTS[name].Settings is MODEL_SETTINGS[name]
    assert set(signature(STUDENTS[name]).parameters) == {"num_items", *MODEL_SETTINGS[name].model_fields}


@pytest.mark.parametrize("name", list(LOSSES))
def test_a_loss_says_what_its_settings_are(name):
    assert LOSSES[name].Settings is LOSS_SETTINGS[name]
    own = set(signature(LOSSES[name]).parameters) - {"item_counts", "dtype"}
    assert own | {"name"} == set(LOSS_SETTINGS[name].model_fields)


@pytest.mark.parametrize("name", list(LOSSES))
def test_a_loss_is_built_from_its_settings(name):
    counts = torch.arange(NUM_ITEMS)
    loss = create_loss(shipped_loss(name), counts, torch.bfloat16)
    assert type(loss) is LOSSES[name]
    own = {key: value for key, value in shipped_loss(name).plain().items() if key != "name"}
    assert vars(loss).keys() == vars(LOSSES[name].made(counts, torch.bfloat16, **own)).keys()
    assert getattr(loss, "num_negatives", None) == own.get("num_negatives")
    assert getattr(loss, "dtype", None) == (torch.bfloat16 if name == "cross_entropy" else None)


def test_every_loss_has_a_file_that_builds_it():
    assert options("student/loss") == set(LOSSES)
    for name in LOSSES:
        assert shipped_loss(name).name == name
        loss = create_loss(shipped_loss(name), torch.arange(NUM_ITEMS), torch.float32)
        hidden = torch.randn(4, D).requires_grad_()
        value = loss(student("sasrec"), hidden, torch.tensor([1, 3, 15, 2]))
        assert value.shape == () and value.isfinite() and value.requires_grad


def test_an_unknown_name_tells_the_known_ones():
    with pytest.raises(UserError, match=r"student\.name=bert is not known: use one of .*sasrec.*gru4rec"):
        create_student("bert", 15, {})
    with pytest.raises(UserError, match=r"student\.loss\.name=hinge is not known: use one of cross_entropy, sampled"):
        create_loss(LossSettings(name="hinge"), torch.ones(15), torch.float32)
