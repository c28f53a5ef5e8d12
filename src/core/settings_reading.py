"""From a config to settings: reads a whole tree by its types, and tells all that is wrong with it at once."""

import difflib
from collections.abc import Iterator, Mapping
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, cast, get_args, get_origin

from pydantic import TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from .errors import UserError
from .settings import LARGEST, ChosenBy, NamedIn, Settings, Words, as_plain

S = TypeVar("S", bound=Settings)


def read_settings(kind: type[S], tree: Mapping[str, Any]) -> S:
    """Returns the settings that a config holds, defaults where it is silent.

    Args:
        kind: The group.
        tree: Plain values, groups as mappings.

    Raises:
        UserError: Keys are unknown, missing, wrong or at odds with one another; names them all, with what they are and
            what they must be.
    """
    faults: dict[str, str] = {}
    settings = _read(kind, tree, "", faults)
    told = [*faults.values(), *_broken_rules(settings, "", faults)]
    if told:
        raise UserError(f"The config is wrong: {'; '.join(told)}.")
    return settings


def changed(settings: S, values: Mapping[str, Any]) -> S:
    """Returns a copy with other values, given by dotted keys, checked as by `read_settings`."""
    tree = settings.plain()
    for key, value in values.items():
        *groups, name = key.split(".")
        place = tree
        for each in groups:
            place = place.setdefault(each, {})
        place[name] = value
    return read_settings(type(settings), tree)


def value_at(settings: Settings, key: str) -> Any:
    """Returns the value of a dotted key.

    Raises:
        AttributeError: There is no such key.
    """
    value: Any = settings
    for name in key.split("."):
        if not isinstance(value, Settings) or name not in type(value).model_fields:
            raise AttributeError(key)
        value = getattr(value, name)
    return value


def described(kind: type[Settings], at: str = "") -> Iterator[tuple[str, str, Any, str]]:
    """Yields key, what it must be, default (`...`: none) and meaning of every setting; groups that a name chooses are
    left out.
    """
    for name, field in kind.model_fields.items():
        inner = _group_kind(field)
        if inner is not None:
            if _choice(field) is None:
                yield from described(inner, f"{at}{name}.")
            continue
        default = ... if field.is_required() else as_plain(_default(kind, name))
        yield f"{at}{name}", words_of(field), default, field.description or ""


def words_of(field: FieldInfo) -> str:
    """Returns what a value of this setting must be, in words."""
    marks = [mark.text for mark in field.metadata if isinstance(mark, Words)]
    return marks[-1] if marks else _words(field.annotation)  # the outermost


def _words(annotation: Any) -> str:
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        marks = [mark.text for mark in inner[1:] if isinstance(mark, Words)]
        return marks[-1] if marks else _words(inner[0])
    if origin in (Union, UnionType):
        others = [_words(each) for each in inner if each is not NoneType]
        return _either(["null", *others] if NoneType in inner else others)
    if origin is Literal:
        return _either([str(each) for each in inner])
    if isinstance(annotation, type) and issubclass(annotation, Settings):
        return "a group of keys"
    return {dict: "a group of keys", list: "a list"}.get(origin or annotation, getattr(annotation, "__name__", "?"))


def _either(words: list[str]) -> str:
    parts = [part for each in words for part in each.replace(" or ", ", ").split(", ")] if len(words) > 1 else words
    if any(" " in part for part in parts):
        return " or ".join(words)
    return " or ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def _read(kind: type[S], tree: Mapping[str, Any], at: str, faults: dict[str, str]) -> S:
    values: dict[str, Any] = {}
    for name, field in kind.model_fields.items():
        key = f"{at}{name}"
        if name not in tree and field.is_required() and _group_kind(field) is None:
            faults[key] = f"{key} is missing: it must be {words_of(field)}"
        elif name not in tree and not field.is_required() and _group_kind(field) is None:
            values[name] = _default(kind, name)
        else:
            values[name] = _read_one(kind, name, tree, at, faults)
    for name in tree:
        if name not in kind.model_fields:
            faults[f"{at}{name}"] = _unknown(kind, str(name), at)
    return cast("S", kind.model_construct(**values))  # pydantic's plugin takes it for a plain Settings


def _default(kind: type[Settings], name: str) -> Any:
    """The default as the type reads it: 32 for a number is 32.0, whether it was given or not."""
    default = kind.model_fields[name].get_default(call_default_factory=True)
    return _adapter(kind, name).validate_python(default)


def _read_one(kind: type[Settings], name: str, tree: Mapping[str, Any], at: str, faults: dict[str, str]) -> Any:
    field = kind.model_fields[name]
    key, value, inner, choice = f"{at}{name}", tree.get(name, {}), _group_kind(field), _choice(field)
    each_kind = _kind_of_each(field)
    if each_kind is not None and isinstance(value, Mapping):
        return {one: _read_group(each_kind, group, f"{key}.{one}", faults) for one, group in value.items()}
    if inner is None:
        try:
            read = _adapter(kind, name).validate_python(value)
            for mark in field.metadata:
                if isinstance(mark, NamedIn):
                    mark.check(read, key)
            return read
        except ValidationError as error:
            beyond = any(LARGEST in each.get("ctx", {}).values() for each in error.errors())
            most = f", {LARGEST} at most" if beyond else ""
            faults[key] = f"{key}={str(value)[:100]} must be {words_of(field)}{most}"
        except UserError as error:
            faults[key] = str(error).rstrip(".")
        return value
    if choice is not None and isinstance(value, Mapping) and not isinstance(value, Settings):
        try:
            inner = choice.kind_of(str(_at(tree, choice.path)), f"{at}{choice.path}")
        except UserError as error:
            faults[f"{at}{choice.path}"] = str(error).rstrip(".")
            return value
    return _read_group(inner, value, key, faults)


def _read_group(kind: type[Settings], value: Any, key: str, faults: dict[str, str]) -> Any:
    if isinstance(value, Settings):
        return value
    if not isinstance(value, Mapping):
        faults[key] = f"{key}={value} must be a group of keys (a choice is written {key.replace('.', '/')}={value})"
        return value
    return _read(kind, value, f"{key}.", faults)


@cache
def _adapter(kind: type[Settings], name: str) -> TypeAdapter[Any]:
    field = kind.model_fields[name]
    annotation: Any = field.annotation
    for mark in field.metadata:
        annotation = Annotated[annotation, mark]
    return TypeAdapter(annotation)


def _at(tree: Any, path: str) -> Any:
    for name in path.split("."):
        tree = tree.get(name) if isinstance(tree, Mapping) else None
    return tree


def _unknown(kind: type[Settings], name: str, at: str) -> str:
    if name in kind.renamed:
        return f"{at}{name} is not known any more: {kind.renamed[name]}"
    alike = difflib.get_close_matches(name, kind.model_fields, n=1, cutoff=0.4)
    there = f"did you mean {at}{alike[0]}?" if alike else f"there are {', '.join(kind.model_fields)}"
    return f"{at}{name} is not known ({there})"


def _broken_rules(settings: Settings, at: str, faults: Mapping[str, str]) -> Iterator[str]:
    for rule in settings.rules:
        asked = [f"{at}{key}" for key in rule.keys]
        right = not any(wrong == key or key.startswith(f"{wrong}.") for wrong in faults for key in asked)
        if right and rule.broken(settings):
            yield rule.says.format(at=at, s=settings)
    for name in type(settings).model_fields:
        inner = getattr(settings, name, None)
        groups = {name: inner}
        if isinstance(inner, Mapping):
            groups = {f"{name}.{one}": group for one, group in inner.items()}
        for one, group in groups.items():
            if isinstance(group, Settings):
                yield from _broken_rules(group, f"{at}{one}.", faults)


def _group_kind(field: FieldInfo) -> type[Settings] | None:
    kind = field.annotation
    return kind if isinstance(kind, type) and issubclass(kind, Settings) else None


def _kind_of_each(field: FieldInfo) -> type[Settings] | None:
    """Returns of which kind the groups of a setting are that holds several by name; None of any other setting."""
    kinds = get_args(field.annotation) if get_origin(field.annotation) is dict else ()
    return kinds[1] if kinds and isinstance(kinds[1], type) and issubclass(kinds[1], Settings) else None


def _choice(field: FieldInfo) -> ChosenBy | None:
    return next((mark for mark in field.metadata if isinstance(mark, ChosenBy)), None)
