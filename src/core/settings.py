"""Settings as types: default, bounds, meaning and whether a change of it changes a result, each said once.

A group of settings is a pydantic model, so that Python callers get checked, frozen objects. A whole config is read by
`settings_reading.read_settings`, which tells all that is wrong with it at once, in the words that its types carry.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal
from urllib.parse import parse_qs, urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, Strict, model_validator
from pydantic.config import JsonDict
from pydantic.fields import FieldInfo
from typing_extensions import Self

from .errors import UserError
from .paths import absolute

NOT_IN_KEY = "changes no result"
LARGEST = 2**31 - 1  # of whole numbers: what sizes, counts and cut-offs are computed with
LONGEST_NAME = 255  # bytes of a file's name


@dataclass(frozen=True)
class Words:
    """What a value must be, as errors and help say it."""

    text: str


@dataclass(frozen=True)
class Rule:
    """What must hold between settings that are each right by themselves.

    keys: Names within the group, dotted where they lie deeper; the rule is asked only where all of them are right.
    broken: Takes the group.
    says: The fault, a format string: `at` is where the group stands ("student.model."), `s` the group.
    """

    keys: tuple[str, ...]
    broken: Callable[[Any], bool]
    says: str


@dataclass(frozen=True)
class ChosenBy:
    """The type of a group that a name decides.

    path: Where the name stands, from the group around: "name" beside it, "loss.name" within it.
    kind_of: Takes the name and its key; raises UserError where there is nothing of that name.
    """

    path: str
    kind_of: Callable[[str, str], type["Settings"]]


@dataclass(frozen=True)
class NamedIn:
    """A name (or a list of names) that must be known.

    check: Takes the value and its key; raises UserError where there is nothing of that name.
    """

    check: Callable[[Any, str], object]


class Settings(BaseModel):
    """A group of settings: frozen, with no other keys than its own."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", protected_namespaces=(), defer_build=True, validate_default=True
    )
    rules: ClassVar[tuple[Rule, ...]] = ()
    renamed: ClassVar[dict[str, str]] = {}  # keys that there were once, and what to write instead

    @model_validator(mode="after")
    def _is_sound(self) -> Self:
        """Holds Python callers to the rules and names that `settings_reading.read_settings` asks for.

        Raises:
            UserError: A rule is broken, or a name is not known.
        """
        for name, field in type(self).model_fields.items():
            for mark in field.metadata:
                if isinstance(mark, NamedIn):
                    mark.check(getattr(self, name), name)
        for rule in self.rules:
            if rule.broken(self):
                raise UserError(f"{rule.says.format(at='', s=self)}.")
        return self

    def plain(self) -> dict[str, Any]:
        """Returns all values as JSON has them."""
        return {name: as_plain(getattr(self, name)) for name in type(self).model_fields}

    def key(self) -> dict[str, Any]:
        """Returns the values that change a result, as JSON has them: what the fingerprint of an artefact is made of."""
        return {name: _key(getattr(self, name)) for name, field in type(self).model_fields.items() if _counts(field)}


def setting(default: Any, meaning: str, *, changes_result: bool = True) -> Any:
    """Declares one setting of a group.

    Args:
        default: `...` where a config must say it.
        meaning: One line for `--help`.
        changes_result: Whether another value gives another result. False for where things lie, how fast they are made
            and how much memory that takes.
    """
    return Field(default, description=meaning, json_schema_extra=_mark(changes_result))


def group(kind: type[Settings], *, changes_result: bool = True) -> Any:
    """Declares a group within a group, by default with all of its defaults."""
    return Field(default_factory=kind, json_schema_extra=_mark(changes_result))


def _mark(changes_result: bool) -> JsonDict | None:
    return None if changes_result else {NOT_IN_KEY: True}


def nameable(path: str) -> str:
    """Returns a path that a file system can have.

    Raises:
        ValueError: A name in it is too long, or holds what no name may.
    """
    if "\0" in path or any(len(name.encode()) > LONGEST_NAME for name in path.split("/")):
        raise ValueError("no path")
    return path


def without_password(address: str) -> str:
    """Returns the address of a store or a database that may stand in config.yaml.

    Raises:
        ValueError: It is no address, or holds a password.
    """
    parts = urlsplit(address)
    if "://" not in address or parts.password or any("pass" in key or "pwd" in key for key in parse_qs(parts.query)):
        raise ValueError("no address, or one with a password")
    return address


def _absolute(path: Path) -> Path:
    return Path(absolute(nameable(str(path))))


FiniteFloat = Annotated[float, Strict(), Field(allow_inf_nan=False)]
Whole = Annotated[int, Strict(), Field(le=LARGEST)]

YesNo = Annotated[bool, Strict(), Words("true or false")]
Text = Annotated[str, Strict(), Words("a text")]
Nameable = Annotated[str, Strict(), AfterValidator(nameable), Words("a path")]
Address = Annotated[str, Strict(), AfterValidator(without_password), Words("an address with ://, without a password")]
FolderName = Annotated[
    str, Strict(), Field(pattern=r"^\w[\w.-]{0,99}$"), Words("a name of letters, digits, '.', '-' and '_'")
]
UserPath = Annotated[Path, AfterValidator(_absolute), Words("a path")]  # as seen from where the program was started
PositiveInteger = Annotated[Whole, Field(gt=0), Words("a whole number above 0")]
Natural = Annotated[Whole, Field(ge=0), Words("a whole number, 0 or above")]
Several = Annotated[Whole, Field(gt=1), Words("a whole number above 1")]
LARGEST_SEED = 2**32 - 1
Seed = Annotated[int, Strict(), Field(ge=0, le=LARGEST_SEED), Words("a whole number from 0 to 4294967295")]
Limit = Annotated[Literal[-1] | PositiveInteger, Words("a whole number above 0, or -1 for all")]
Number = Annotated[FiniteFloat, Words("a number")]
Positive = Annotated[FiniteFloat, Field(gt=0), Words("a number above 0")]
NotNegative = Annotated[FiniteFloat, Field(ge=0), Words("a number, 0 or above")]
Share = Annotated[FiniteFloat, Field(gt=0, le=1), Words("a number above 0, at most 1")]
ShareOrNone = Annotated[FiniteFloat, Field(ge=0, le=1), Words("a number from 0 to 1")]
Probability = Annotated[FiniteFloat, Field(ge=0, lt=1), Words("a number from 0 to below 1")]
Between = Annotated[FiniteFloat, Field(gt=0, lt=1), Words("a number above 0 and below 1")]
CutOffs = Annotated[list[PositiveInteger], Field(min_length=1), Words("a list of whole numbers above 0")]
Names = Annotated[list[Text], Field(min_length=1), Words("a list of names")]


def _counts(field: FieldInfo) -> bool:
    return not (isinstance(field.json_schema_extra, dict) and field.json_schema_extra.get(NOT_IN_KEY))


def as_plain(value: Any) -> Any:
    """Returns a value as JSON has it."""
    if isinstance(value, Settings):
        return value.plain()
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, list | tuple):
        return [as_plain(each) for each in value]
    if isinstance(value, Mapping):
        return {name: as_plain(each) for name, each in value.items()}
    return str(value) if isinstance(value, Path) else value


def _key(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_key(each) for each in value]
    if isinstance(value, Mapping):
        return {name: _key(each) for name, each in value.items()}
    return value.key() if isinstance(value, Settings) else as_plain(value)
