import sys

import pytest

from src.core.errors import UserError
from src.core.registry import Registry
from src.data.raw.layouts import LAYOUTS
from src.distill.choices import POLICIES, WEIGHTINGS
from src.student.choices import LOSSES, STUDENTS
from src.teacher.choices import ROUTERS, TEACHERS

HERE = "tests.core.test_registry"


class Cake:
    pass


class Tart(Cake):
    pass


class Stone:
    pass


SLICE = Tart()


def bake() -> str:
    return "baked"


def cakes(**more: str) -> Registry:
    shipped = {"cake": "test_registry:Cake", "tart": "test_registry:Tart", **more}
    return Registry("bakery.cake", __package__, shipped, kind="test_registry:Cake")


def refused(registry: Registry, name: str) -> str:
    with pytest.raises(UserError) as caught:
        registry[name]
    return str(caught.value)


def test_shipped_things_have_short_names():
    assert cakes()["tart"] is Tart
    assert list(cakes()) == ["cake", "tart"]
    assert "tart" in cakes() and f"{HERE}:Tart" not in cakes()


def test_a_module_is_imported_when_its_thing_is_asked_for_and_not_before(tmp_path, monkeypatch):
    (tmp_path / "late_bakery").mkdir()
    (tmp_path / "late_bakery" / "__init__.py").write_text("")
    (tmp_path / "late_bakery" / "cakes.py").write_text("class Pie:\n    pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    registry = Registry("bakery.cake", "late_bakery", {"pie": "cakes:Pie"}, kind="cakes:Pie")
    assert list(registry) == ["pie"]
    registry.check("pie")
    registry.check("late_bakery.cakes:Pie")
    assert "late_bakery.cakes" not in sys.modules
    assert registry["pie"] is sys.modules["late_bakery.cakes"].Pie


def test_a_shipped_thing_that_is_not_there_is_our_fault():
    with pytest.raises(ModuleNotFoundError):
        cakes(pie="not_there:Pie")["pie"]


def test_an_unknown_name_is_told_with_the_known_ones():
    said = "bakery.cake=pie is not known: use one of cake, tart, or package.module:Name of your own."
    assert refused(cakes(), "pie") == said
    with pytest.raises(UserError) as caught:
        cakes().check("pie")
    assert str(caught.value) == said


@pytest.mark.parametrize("name", ["Tart", "SLICE"])
def test_anyones_own_is_named_by_module_and_name_a_class_or_a_thing(name):
    assert cakes()[f"{HERE}:{name}"] is globals()[name]


def test_anyones_own_function_is_taken_where_functions_are_asked_for():
    ways = Registry("bakery.way", __package__, {}, kind=None)
    assert ways[f"{HERE}:bake"] is bake
    assert refused(ways, f"{HERE}:Tart") == (f"bakery.way={HERE}:Tart is no function: give package.module:Name of one.")
    assert "is no function" in refused(ways, f"{HERE}:HERE")


@pytest.mark.parametrize("name", ["Stone", "bake", "HERE"])
def test_something_of_another_kind_is_refused_in_one_sentence(name):
    assert refused(cakes(), f"{HERE}:{name}") == (
        f"bakery.cake={HERE}:{name} is no Cake: give package.module:Name of one."
    )


@pytest.mark.parametrize("name", ["no_such_module:Tart", f"{HERE}:Pie", "no_such.module:", ":Tart", ".cakes:Tart"])
def test_what_cannot_be_imported_is_refused_in_one_sentence(name):
    said = refused(cakes(), name)
    assert said.startswith(f"bakery.cake={name} cannot be imported (")
    assert said.endswith("): give package.module:Name.")


REGISTRIES = [STUDENTS, LOSSES, TEACHERS, ROUTERS, POLICIES, WEIGHTINGS, LAYOUTS]


@pytest.mark.parametrize(
    ("registry", "name"),
    [(registry, name) for registry in REGISTRIES for name in registry],
    ids=lambda part: getattr(part, "key", part),
)
def test_everything_that_is_shipped_is_there_and_of_the_kind_asked_of_ones_own(registry, name):
    thing, place = registry[name], registry.shipped[name]
    module, _, attribute = place.partition(":")
    assert registry[f"{registry.package}.{module}:{attribute}"] is thing


@pytest.mark.parametrize("registry", REGISTRIES, ids=lambda registry: registry.key)
def test_registries_are_named_by_their_key(registry):
    assert refused(registry, "nonsense").startswith(f"{registry.key}=nonsense is not known: use one of ")
    assert f"{registry.key}=json:JSONDecoder is no " in refused(registry, "json:JSONDecoder")
