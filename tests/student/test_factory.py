import pytest
import yaml

from src.core.errors import UserError
from src.core.paths import CONF_DIR
from src.student.factory import STUDENTS, create_student
from tests.student.students import NAMES, architecture


@pytest.mark.parametrize("name", NAMES)
def test_a_student_is_built_by_name(name):
    model = create_student(name, 15, architecture(name))
    assert type(model) is STUDENTS[name]
    assert (model.num_items, model.history_length) == (15, 6)


@pytest.mark.parametrize("path", sorted((CONF_DIR / "student").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_shipped_config_builds_the_student_it_names(path):
    shipped = yaml.safe_load(path.read_text())
    model = create_student(shipped["name"], 15, shipped["model"])
    assert shipped["name"] == path.stem
    assert model.item_table().shape == (16, shipped["model"]["hidden_size"])


def test_every_student_has_its_config():
    assert {path.stem for path in (CONF_DIR / "student").glob("*.yaml")} == set(STUDENTS)


def test_an_unknown_name_tells_the_known_ones():
    with pytest.raises(UserError, match=r"student\.name=bert is not known: use one of .*sasrec.*gru4rec"):
        create_student("bert", 15, {})
