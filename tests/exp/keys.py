"""Every key of a run's settings, found by walking the types, and other values for them."""

from functools import cache
from typing import Any, Literal, get_args, get_origin

from pydantic.fields import FieldInfo

from src.core.errors import UserError
from src.core.settings import NOT_IN_KEY, NamedIn, Settings
from src.core.settings_reading import read_settings, value_at
from src.exp.program.config import compose_settings
from src.exp.program.settings import RunSettings
from src.student.settings import LOSS_SETTINGS, MODEL_SETTINGS
from src.teacher.settings import ROUTER_SETTINGS

DEFAULT = "student=sasrec"
CHOOSING = {"student.name", "student.loss.name", "teacher.user_encoder.name", "teacher.user_encoder.loss.name",
            "teacher.router.name"}  # fmt: skip

composed = cache(compose_settings)


def leaves(settings: Settings, at: str = "") -> dict[str, FieldInfo]:
    """Returns the declaration of every value, by dotted key, in the order of the types."""
    found: dict[str, FieldInfo] = {}
    for name, field in type(settings).model_fields.items():
        value = getattr(settings, name)
        is_group = isinstance(value, Settings) and isinstance(field.annotation, type)
        found |= leaves(value, f"{at}{name}.") if is_group else {f"{at}{name}": field}
    return found


def every_key() -> list[tuple[str, str]]:
    """Returns an option and a key that stands in its config: all of the default one, then those of other choices."""
    keys = [(DEFAULT, key) for key in leaves(composed(DEFAULT))]
    for group, at, kinds in (
        ("student", "student.model", MODEL_SETTINGS),
        ("student/loss", "student.loss", LOSS_SETTINGS),
        ("teacher/router", "teacher.router", ROUTER_SETTINGS),
    ):
        for option, kind in kinds.items():
            names = [name for name in kind.model_fields if name != "name"]
            keys += [(f"{group}={option}", f"{at}.{name}") for name in names if f"{group}={option}" != DEFAULT]
    return keys


def names_something(field: FieldInfo) -> bool:
    """Whether a value is a name that must be known."""
    return any(isinstance(mark, NamedIn) for mark in field.metadata)


def changes_no_result(field: FieldInfo) -> bool:
    """Whether a value is declared to leave every result as it is."""
    return bool((field.json_schema_extra or {}).get(NOT_IN_KEY))


def with_value(settings: RunSettings, key: str, value: Any) -> RunSettings:
    """Returns what `changed` does; groups beside the key are taken as they are, which is ten times as fast."""
    tree = place = _opened(settings)
    *names, last = key.split(".")
    for name in names:
        place[name] = place = _opened(place[name])
    place[last] = value
    return read_settings(RunSettings, tree)


def _opened(group: Settings) -> dict[str, Any]:
    return {name: getattr(group, name) for name in type(group).model_fields}


def with_another_value(settings: RunSettings, key: str) -> RunSettings:
    """Returns the settings with the first other value of a key that its type and all rules take."""
    before = value_at(settings, key)
    for value in _others(leaves(settings)[key].annotation, before):
        try:
            after = with_value(settings, key, value)
        except UserError:
            continue
        if value_at(after, key) != before:
            return after
    raise AssertionError(f"no other value of {key} is known")


def _others(annotation: Any, value: Any) -> list[Any]:
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int | float):
        return [value + 1, 2 * value, value / 2, value + 0.125, value - 1, 7]
    if isinstance(value, list):
        return [value[:-1], *([*value, other] for other in _others(None, value[-1] if value else None))]
    return [*_options(annotation), "another", "another.module:Name", 1, 0.5, ["another"], {"another": 1}]


def _options(annotation: Any) -> list[Any]:
    inner = get_args(annotation)
    return list(inner) if get_origin(annotation) is Literal else [each for one in inner for each in _options(one)]
