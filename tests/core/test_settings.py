import json
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import ValidationError

from src.core import settings as kinds
from src.core.errors import UserError
from src.core.settings import (
    ChosenBy,
    CutOffs,
    NamedIn,
    Natural,
    Positive,
    PositiveInteger,
    Rule,
    Settings,
    Text,
    UserPath,
    Words,
    group,
    setting,
)
from src.core.settings_reading import changed, described, read_settings, value_at, words_of


class Oven(Settings):
    rules = (
        Rule(
            ("low", "high"),
            lambda s: s.low > s.high,
            "{at}low={s.low} must not exceed {at}high={s.high}",
        ),
    )
    low: Natural = setting(100, "degrees at the start")
    high: Natural = setting(200, "degrees at the end")
    shelf: PositiveInteger = setting(2, "where the tin stands", changes_result=False)


class Shape(Settings):
    name: Text = setting(..., "round or square")


class Round(Shape):
    radius: Positive = setting(..., "of the tin")


class Square(Shape):
    side: Positive = setting(8.0, "of the tin")


def shape_named(name: str, key: str) -> type[Shape]:
    shapes = {"round": Round, "square": Square}
    if name not in shapes:
        raise UserError(f"shape.name={name} is not known: use one of round, square.")
    return shapes[name]


class Cake(Settings):
    rules = (
        Rule(
            ("layers", "oven.low"),
            lambda s: s.layers > 3 and s.oven.low < 50,
            "{at}layers={s.layers} needs a warm oven",
        ),
    )
    renamed = {"heat": "write oven.low and oven.high"}  # noqa: RUF012 (as a group of settings does)
    layers: PositiveInteger = setting(..., "of dough")
    icing: Literal["sugar", "butter"] | None = setting(None, "on top")
    recipe: UserPath | None = setting(None, "where it is written", changes_result=False)
    shape: Annotated[Shape, ChosenBy("shape.name", shape_named)]
    oven: Oven = group(Oven)
    kitchen: Oven = group(Oven, changes_result=False)


PLAIN = {"layers": 2, "shape": {"name": "square"}}
CAKE = read_settings(Cake, PLAIN)


def told(tree: dict[str, Any], kind: type[Settings] = Cake) -> str:
    with pytest.raises(UserError) as caught:
        read_settings(kind, tree)
    return str(caught.value)


def one_setting(kind: Any) -> type[Settings]:
    return type("One", (Settings,), {"__annotations__": {"x": kind}, "x": setting(..., "it"), "__module__": __name__})


# --- reading


def test_where_a_config_is_silent_defaults_hold():
    assert (CAKE.icing, CAKE.recipe, CAKE.oven.low, CAKE.shape.side) == (None, None, 100, 8.0)
    assert isinstance(CAKE.shape, Square)


def test_a_name_decides_which_settings_a_group_has():
    cake = read_settings(Cake, {"layers": 2, "shape": {"name": "round", "radius": 12}})
    assert isinstance(cake.shape, Round) and cake.shape.radius == 12
    assert told({"layers": 2, "shape": {"name": "square", "radius": 12}}) == (
        "The config is wrong: shape.radius is not known (there are name, side)."
    )


def test_a_name_may_stand_beside_the_group_that_it_chooses():
    class Tin(Settings):
        name: Text = setting(..., "which")
        shape: Annotated[Shape, ChosenBy("name", shape_named)]

    assert read_settings(Tin, {"name": "round", "shape": {"name": "x", "radius": 3}}).shape.radius == 3


def test_a_name_that_chooses_nothing_is_told_with_the_other_faults():
    assert told({"layers": 0, "shape": {"name": "oval"}, "oven": {"low": -1}}) == (
        "The config is wrong: layers=0 must be a whole number above 0; shape.name=oval is not known: use one of round, "
        "square; oven.low=-1 must be a whole number, 0 or above."
    )


def test_settings_are_frozen():
    with pytest.raises(ValidationError):
        CAKE.layers = 3


def test_groups_that_python_callers_build_are_checked_too():
    assert Oven(low=5).high == 200
    for wrong in ({"low": -1}, {"low": 1.5}, {"heat": 3}):
        with pytest.raises(ValidationError):
            Oven(**wrong)


def test_a_group_that_is_built_already_is_taken_as_it_is():
    assert read_settings(Cake, {**PLAIN, "oven": Oven(low=5)}).oven.low == 5


# --- faults


def test_an_unknown_key_is_told_with_the_one_that_was_meant():
    assert told({**PLAIN, "layer": 3}) == "The config is wrong: layer is not known (did you mean layers?)."
    assert told({**PLAIN, "oven": {"hi": 3}}) == "The config is wrong: oven.hi is not known (did you mean oven.high?)."


def test_an_unknown_key_like_no_other_is_told_with_those_there_are():
    assert told({**PLAIN, "oven": {"xyz": 3}}) == (
        "The config is wrong: oven.xyz is not known (there are low, high, shelf)."
    )


def test_a_key_of_earlier_is_told_with_what_to_write_now():
    assert told({**PLAIN, "heat": 180}) == (
        "The config is wrong: heat is not known any more: write oven.low and oven.high."
    )


def test_missing_keys_are_told_with_what_they_must_be():
    assert told({"shape": {"name": "round"}}) == (
        "The config is wrong: layers is missing: it must be a whole number above 0; "
        "shape.radius is missing: it must be a number above 0."
    )


def test_keys_of_a_group_that_is_missing_are_missing():
    class Kitchen(Settings):
        cake: Cake = setting(..., "what is baked")

    assert "cake.layers is missing: it must be a whole number above 0" in told({}, Kitchen)


@pytest.mark.parametrize("value", [5, None, "hot", [1]])
def test_a_group_must_be_one_and_a_choice_is_written_otherwise(value):
    class Kitchen(Settings):
        cake: Cake = setting(..., "what is baked")

    assert told({"cake": {**PLAIN, "oven": value}}, Kitchen) == (
        f"The config is wrong: cake.oven={value} must be a group of keys (a choice is written cake/oven={value})."
    )


def test_a_name_that_must_be_known_is_told_by_who_knows_it_with_the_other_faults():
    def check(name: str, key: str) -> None:
        if name != "Anna":
            raise UserError(f"{key}={name} is not known: use Anna.")

    class Bakery(Settings):
        rules = (Rule(("baker",), lambda s: s.loaves > 5, "{at}baker={s.baker} tires"),)
        baker: Annotated[Text, NamedIn(check)] = setting(..., "who bakes")
        loaves: PositiveInteger = setting(9, "a day")

    assert told({"baker": "Anna"}, Bakery) == "The config is wrong: baker=Anna tires."
    assert told({"baker": "Otto", "loaves": 0}, Bakery) == (
        "The config is wrong: baker=Otto is not known: use Anna; loaves=0 must be a whole number above 0."
    )
    assert told({"baker": 3}, Bakery) == "The config is wrong: baker=3 must be a text."


def test_all_faults_are_told_at_once_in_the_order_of_the_types_rules_last():
    tree = {
        "oven": {"low": 300, "shelf": 0},
        "icing": "salt",
        "layers": 2.5,
        "kitchen": {"low": 3, "high": 1},
        "shape": {"name": "square", "side": -1},
        "zzz": 40,
    }
    assert told(tree) == (
        "The config is wrong: layers=2.5 must be a whole number above 0; icing=salt must be null, sugar or butter; "
        "shape.side=-1 must be a number above 0; oven.shelf=0 must be a whole number above 0; "
        "zzz is not known (there are layers, icing, recipe, shape, oven, kitchen); "
        "oven.low=300 must not exceed oven.high=200; kitchen.low=3 must not exceed kitchen.high=1."
    )


def test_a_rule_is_told_at_its_group_and_across_groups():
    assert told({**PLAIN, "oven": {"low": 201}}) == ("The config is wrong: oven.low=201 must not exceed oven.high=200.")
    assert told({**PLAIN, "layers": 4, "oven": {"low": 40}}) == "The config is wrong: layers=4 needs a warm oven."


@pytest.mark.parametrize(
    "wrong",
    [
        {"oven": {"low": "hot"}},
        {"oven": {"low": None, "high": 3}},
        {"oven": 3},
        {"layers": "many", "oven": {"low": 40}},
        {"layers": 4, "oven": {"low": "cold"}},
    ],
)
def test_a_rule_is_asked_only_where_its_keys_are_right(wrong):
    said = told({**PLAIN, **wrong})
    assert "exceed" not in said and "warm" not in said
    assert said.count("must be") == 1


def test_a_rule_is_asked_although_other_keys_of_its_group_are_wrong():
    said = told({**PLAIN, "oven": {"low": 201, "shelf": 0}})
    assert "oven.shelf=0 must be" in said and "oven.low=201 must not exceed" in said


# --- as plain values


def test_plain_values_hold_everything_and_can_be_read_again():
    cake = read_settings(Cake, {**PLAIN, "recipe": "/books/cake.txt"})
    assert cake.plain() == {
        "layers": 2,
        "icing": None,
        "recipe": "/books/cake.txt",
        "shape": {"name": "square", "side": 8.0},
        "oven": {"low": 100, "high": 200, "shelf": 2},
        "kitchen": {"low": 100, "high": 200, "shelf": 2},
    }
    assert read_settings(Cake, cake.plain()) == cake


def test_a_default_is_the_same_value_to_the_letter_as_when_it_is_given():
    class Oven(Settings):
        heat: Positive = setting(180, "degrees")
        steps: list[Positive] = setting([1, 2], "of the heat")

    by_default, given = read_settings(Oven, {}), read_settings(Oven, {"heat": 180, "steps": [1, 2]})
    assert json.dumps(by_default.key()) == json.dumps(given.key())


def test_a_key_holds_what_changes_a_result_and_nothing_else():
    assert CAKE.key() == {
        "layers": 2,
        "icing": None,
        "shape": {"name": "square", "side": 8.0},
        "oven": {"low": 100, "high": 200},
    }


def test_a_change_is_a_checked_copy():
    other = changed(CAKE, {"oven.low": 150, "shape.side": 9.5})
    assert (other.oven.low, other.shape.side, other.layers) == (150, 9.5, 2)
    assert (CAKE.oven.low, CAKE.shape.side) == (100, 8.0)
    with pytest.raises(UserError, match=r"oven\.low=201 must not exceed"):
        changed(CAKE, {"oven.low": 201})
    with pytest.raises(UserError, match=r"oven\.heat is not known"):
        changed(CAKE, {"oven.heat": 1})


def test_values_are_found_by_dotted_keys():
    assert (value_at(CAKE, "layers"), value_at(CAKE, "shape.side")) == (2, 8.0)
    with pytest.raises(AttributeError):
        value_at(CAKE, "oven.heat")


def test_every_setting_is_described_but_those_of_a_chosen_group():
    assert list(described(Cake)) == [
        ("layers", "a whole number above 0", ..., "of dough"),
        ("icing", "null, sugar or butter", None, "on top"),
        ("recipe", "null or a path", None, "where it is written"),
        ("oven.low", "a whole number, 0 or above", 100, "degrees at the start"),
        ("oven.high", "a whole number, 0 or above", 200, "degrees at the end"),
        ("oven.shelf", "a whole number above 0", 2, "where the tin stands"),
        ("kitchen.low", "a whole number, 0 or above", 100, "degrees at the start"),
        ("kitchen.high", "a whole number, 0 or above", 200, "degrees at the end"),
        ("kitchen.shelf", "a whole number above 0", 2, "where the tin stands"),
    ]


# --- what a value may be

NAN, INFINITY = float("nan"), float("inf")
BORDERS = {
    "YesNo": ("true or false", [True, False], [0, 1, "yes", None]),
    "Text": ("a text", ["", "x"], [1, None, ["x"]]),
    "UserPath": ("a path", ["x", "/x", "y" * 255], [1, None, "a\0b"]),
    "Nameable": ("a path", ["x", "/x", "y" * 255], [1, None, "a\0b"]),
    "FolderName": ("a name of letters, digits, '.', '-' and '_'", ["ml-1m", "v0.2_é"], ["", "a/b", "..", "a b", 1]),
    "PositiveInteger": ("a whole number above 0", [1, 2**31 - 1], [0, -1, 1.0, True, "1", None]),
    "Natural": ("a whole number, 0 or above", [0, 1], [-1, 0.0, False]),
    "Several": ("a whole number above 1", [2], [1, 2.0]),
    "Seed": ("a whole number from 0 to 4294967295", [0, 2**32 - 1], [-1, 2**32, 1.5, True]),
    "Limit": ("a whole number above 0, or -1 for all", [-1, 1], [0, -2, 2.0, True]),
    "Number": ("a number", [-1.5, 0, 3], [NAN, INFINITY, True, "1"]),
    "Positive": ("a number above 0", [1e-9, 1], [0, -0.1, True, NAN, INFINITY]),
    "NotNegative": ("a number, 0 or above", [0, 0.1], [-0.1, INFINITY, NAN, False]),
    "Share": ("a number above 0, at most 1", [0.01, 1], [0, 1.01]),
    "ShareOrNone": ("a number from 0 to 1", [0, 1], [-0.01, 1.01]),
    "Probability": ("a number from 0 to below 1", [0, 0.999], [1, -0.1]),
    "Between": ("a number above 0 and below 1", [0.001, 0.999], [0, 1]),
    "CutOffs": ("a list of whole numbers above 0", [[1], [10, 5]], [[], [0], [1.5], [True], 10, "", None]),
    "Names": ("a list of names", [["HR@1"]], [[], "HR@1", [1], None]),
}


def test_a_whole_number_that_nothing_can_count_to_is_told_with_the_largest():
    for value in (10**12, 10**30):
        with pytest.raises(UserError, match=f"x={value} must be a whole number above 0, 2147483647 at most"):
            read_settings(one_setting(kinds.PositiveInteger), {"x": value})


@pytest.mark.parametrize("name", BORDERS)
def test_borders_by_hand(name):
    words, right, wrong = BORDERS[name]
    kind = one_setting(getattr(kinds, name))
    for value in right:
        read_settings(kind, {"x": value})
    for value in wrong:
        assert told({"x": value}, kind) == f"The config is wrong: x={value} must be {words}."


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (PositiveInteger | None, "null or a whole number above 0"),
        (Literal["up", "down"] | None, "null, up or down"),
        (Literal["up"], "up"),
        (Literal["up", "down", "left"], "up, down or left"),
        (Annotated[int, Words("a prime")], "a prime"),
        (Annotated[CutOffs, Words("a rising list")], "a rising list"),
        (dict[str, int], "a group of keys"),
        (Oven | None, "null or a group of keys"),
    ],
)
def test_what_a_value_must_be_is_said_in_words_the_outermost_ones(kind, words):
    assert words_of(one_setting(kind).model_fields["x"]) == words


def test_paths_are_seen_from_where_the_program_was_started(tmp_path, monkeypatch):
    monkeypatch.setattr("src.core.paths._START_DIR", tmp_path)
    monkeypatch.setenv("HOME", "/home/someone")
    monkeypatch.chdir("/")
    kind = one_setting(UserPath | None)
    given = {"here": tmp_path / "here", "/there": Path("/there"), "~/there": Path("/home/someone/there"), None: None}
    assert {path: read_settings(kind, {"x": path}).x for path in given} == given
