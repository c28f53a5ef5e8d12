"""What a user writes into a config: overrides, YAML of one's own, values of every setting."""

import copy
import gzip
import math
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from src.core.errors import UserError
from src.core.settings_reading import described, read_settings
from src.exp.program.config import compose_settings
from src.exp.program.settings import RunSettings
from src.exp.studies.search_space import read_space
from tests.wrong_files.cases import BOM, Case, Kind, put


def cases() -> Iterator[Case]:
    yield from overrides()
    yield from yaml_files()
    yield from search_spaces()


@cache
def shipped() -> RunSettings:
    return compose_settings("teacher/llm=tiny_random")


def _typed(*typed: str) -> Kind:
    """Reads what is typed behind a command; the learning rate of the student is looked at."""
    return Kind("overrides", lambda folder: None, lambda folder: compose_settings(*typed).student.train.lr)


def overrides() -> Iterator[Case]:
    refused = {
        "seed=[1": "cannot be put together", "seed={a:1": "cannot be put together", "=5": "cannot be put together",
        "a..b=1": "cannot be put together", "foo": "cannot be put together", "seed='1": "cannot be put together",
        "student=foo": "Could not find 'student/foo'", "student/nope=1": "cannot be put together",
        "~nope": "cannot be put together", "seed=${nope}": "nope", "seed=${seed}": "cannot be put together",
        "seed=${oc.env:NOPE_NOT_THERE}": "NOPE_NOT_THERE", "seed=${nope:1}": "nope",
        "seed=${": "cannot be put together",
        "seed=": "seed= must be", "seed={a:1}": "seed=", "seed=1e3": "seed=",
        "seed=\N{ARABIC-INDIC DIGIT ONE}": "seed=",
        "seed='0'": "seed=",
        "seed=0x10": "seed=", "seed=99999999999999999999": "seed=", "sead=1": "did you mean seed?",
        "student.train.lr.x=1": "student.train.lr=", "student.train=5": "must be a group of keys",
        "student.train=[1,2]": "student.train=[1,2]", "student=null": "cannot be put together",
        "~student": "student.name=None",
        "~paths": "paths", "dataset.files=3": "dataset.files=3", "dataset.files=[3]": "dataset.files=[3]",
        "dataset.files=[{name: ''}]": "dataset.files", "dataset.name=../elsewhere": "dataset.name=../elsewhere must be",
        "dataset.name=''": "dataset.name= must be", "dataset.name=/etc": "dataset.name=/etc must be",
        "dataset.prompt=../movies": "dataset.prompt=../movies must be", "dataset.prompt=books": "has no template",
        "paths.prompts_dir=/nowhere": "has no template", "student.model=null": "student.model=None must be a group",
        "student.loss=bce": "student.loss=bce must be a group", "metrics.ks=[]": "metrics.ks=[] must be",
        "metrics.ks=[1,a]": "metrics.ks", "metrics.ks=10": "metrics.ks=10", "metrics.history_buckets=[5,5]": "rising",
        "compare.metrics=NDCG": "compare.metrics=NDCG", "student.train.lr=nan": "student.train.lr=nan",
        "student.train.lr=inf": "student.train.lr=inf", "student.train.lr=-1e-3": "student.train.lr=-0.001",
        "student.train.lr=0,001": "student.train.lr", "student.train.lr=1e-3x": "student.train.lr=1e-3x",
        "logging.level=LOUD": "logging.level=LOUD", "1=2": "cannot be put together",
        "student.1=2": "student.1 is not known",
    }  # fmt: skip
    for typed, said in refused.items():
        yield Case(_typed(typed), typed, lambda folder: None, said)
    for typed, lr in {
        "student.train.lr=1e-3": 0.001, "student.train.lr=1": 1.0, "++student.train.lr=0.5": 0.5,
        "student.train.lr= 0.5": 0.5, "seed=7": shipped().student.train.lr,
    }.items():  # fmt: skip
        yield Case(_typed(typed), typed, lambda folder: None, None, lr)


YAML = """# A student of one's own.
defaults:
  - loss: cross_entropy
  - _self_

name: sasrec
model: {hidden_size: 8, history_length: 5, num_blocks: 1, num_heads: 2, dropout: 0.1}
train: {lr: 0.25, max_epochs: 3}
"""
OWN = "student/own.yaml"


def _own(folder: Path) -> None:
    (folder / "student").mkdir(parents=True)
    (folder / OWN).write_text(YAML)


def _read_own(folder: Path) -> dict[str, Any]:
    return compose_settings(f"hydra.searchpath=[file://{folder}]", "student=own").student.plain()


OWN_YAML = Kind("YAML of one's own", _own, _read_own)


def yaml_files() -> Iterator[Case]:
    apart = "cannot be put together"
    for fault, content in {
        "tabs": YAML.replace("train: {", "train:\n\t{"), "a key twice": YAML + "name: caser\n", "cut": YAML[:-10],
        "a bracket too many": YAML + "]\n", "an object of Python": YAML + "x: !!python/object:os.system {}\n",
        "a tag that nobody knows": YAML + "x: !mine 3\n", "latin-1": YAML.replace("A s", "Ä s").encode("latin-1"),
        "gzip": gzip.compress(YAML.encode(), mtime=0), "NUL": YAML.replace("sasrec", "sas\0rec"),
        "an alias of nothing": YAML + "x: *there\n", "two documents": YAML + "---\n" + YAML,
        "indented": YAML + " x: 1\n",
        "a default that is not there": YAML.replace("cross_entropy", "hinge"),
        "an interpolation": YAML + "x: ${nope}\n",
        "an interpolation cut": YAML + "x: ${nope\n", "defaults that are a word": YAML.replace("\n  - loss", " x #"),
        "UTF-16": YAML.encode("utf-16"),
    }.items():  # fmt: skip
        yield Case(OWN_YAML, fault, put(OWN, content), apart)
    for fault, content, said in (
        ("empty", "", "student.name=None"), ("a comment alone", "# x\n", "student.name=None"),
        ("a list", "- a\n", "student"),
        ("a word", "sasrec\n", ""), ("a number", "3\n", ""), ("null", "null\n", "student"),
        ("a key that nobody knows", YAML + "widht: 3\n", "student.widht is not known"),
        ("a key without a value", YAML.replace("lr: 0.25", "lr:"), "student.train.lr=None"),
        ("no name", YAML.replace("name: sasrec", ""), "student.name=None"),
        ("a number as a text", YAML.replace("0.25", "'0.25'"), "student.train.lr=0.25 must be"),
        ("yes in place of a number", YAML.replace("0.25", "yes"), "student.train.lr=True must be"),
        ("a list in place of a number", YAML.replace("0.25", "[0.25]"), "student.train.lr=[0.25] must be"),
        ("a date", YAML.replace("0.25", "2024-01-01"), "student.train.lr=2024-01-01"),
        ("a model of another student", YAML.replace("num_blocks: 1", "num_layers: 1"), "student.model.num_layers is"),
        ("a key that is a number", YAML + "1: 2\n", "student.1 is not known"),
        ("a key that is true", YAML + "true: 2\n", "student."),
        ("a number without end", YAML.replace("max_epochs: 3", "max_epochs: " + "9" * 40), "2147483647 at most"),
    ):  # fmt: skip
        yield Case(OWN_YAML, fault, put(OWN, content), said)
    for fault, content in {
        "byte order mark": BOM + YAML.encode(), "Windows' line ends": YAML.replace("\n", "\r\n"),
        "emoji in a comment": "# 👩‍🚀\n" + YAML, "comments and empty lines": "\n\n# x\n" + YAML + "\n\n",
        "no last line break": YAML.rstrip("\n"), "a document's begin": "---\n" + YAML,
    }.items():  # fmt: skip
        yield Case(OWN_YAML, fault, put(OWN, content))
    folder = lambda folder: ((folder / OWN).unlink(), (folder / OWN).mkdir())  # noqa: E731
    yield Case(OWN_YAML, "a folder instead", folder, apart)
    yield Case(OWN_YAML, "is gone", lambda folder: (folder / OWN).unlink(), "Could not find 'student/own'")


def search_spaces() -> Iterator[Case]:
    lr = {"student": {"train": {"lr": None}}}

    def read(leaf: Any) -> Kind:
        space = copy.deepcopy(lr)
        space["student"]["train"]["lr"] = leaf
        return space_of(space)

    def space_of(space: Any) -> Kind:
        tree = {**shipped().plain(), "search": {"space": space}}
        keys = lambda folder: sorted(read_space(read_settings(RunSettings, tree)))  # noqa: E731
        return Kind("search space", lambda folder: None, keys)

    for leaf in (
        {"low": 2, "high": 1}, {"low": "a", "high": "b"}, {"low": None, "high": 1},
        {"low": 0.0, "high": 1.0, "log": True}, {"low": 0.1, "high": 1.0, "step": -0.1},
        {"low": 0.1, "high": 1.0, "step": 0},
        {"low": math.nan, "high": 1.0}, {"low": 0.1, "high": math.inf}, {"low": 0.1, "high": 1.0, "by": 1},
        {"choices": []}, {"choices": 3}, {"choices": [1], "low": 1}, {"choices": None}, 3, "log", [1, 2], True,
        {"low": -1e400, "high": 0.1}, {"low": [1], "high": [2]},
    ):  # fmt: skip
        yield Case(read(leaf), f"{leaf}", lambda folder: None, "search.space.student.train.lr")
    for space, said in (
        ({"student": {"train": {"rate": {"low": 0, "high": 1}}}}, "does not have: student.train.rate"),
        ({"seed": {"low": 0, "high": 1}}, "on which no student depends"),
        ({"student": {"train": {"lr": {"real": {"low": 0, "high": 1}}}}}, "does not have: student.train.lr.real"),
        ({"student": {"plain": {"low": 0, "high": 1}}}, "does not have: student.plain"),
        ({"student": 3}, "student"),
        ([1], "search.space="),
        ("lr", "search.space="),
        ({1: 2}, "search.space="),
    ):
        yield Case(space_of(space), f"{space}", lambda folder: None, said)


# --- every setting

VALUES: list[Any] = [
    None, True, False, 0, 1, -1, 2, 0.5, -0.5, 1.5, math.nan, math.inf, -math.inf, 10**30, -(10**30), 1e308, -1e308, "",
    "x", "1", "null", "👩‍🚀", "a\0b", "x" * 300, [], [None], ["x", 1], {}, {"x": 1}, [[]],
]  # fmt: skip
LARGEST = 2**31 - 1


def _whole(value: Any) -> bool:
    return type(value) is int and abs(value) <= LARGEST


def _number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


KEPT = {  # what may be kept of a value, by the words of its setting; told apart from how the types check it
    "true or false": lambda v: type(v) is bool,
    "a text": lambda v: isinstance(v, str),
    "a text of one or two letters or signs of ASCII": lambda v: v in ("x", "1"),
    "a path": lambda v: isinstance(v, str) and "\0" not in v and len(v) < 256,
    "a path or an address with ://, without a password": lambda v: KEPT["a path"](v),
    "a name of letters, digits, '.', '-' and '_'": lambda v: v in ("x", "1", "null"),
    "a name of letters, digits and _": lambda v: v in ("x", "null"),
    "a whole number above 0": lambda v: _whole(v) and v > 0,
    "a whole number, 0 or above": lambda v: _whole(v) and v >= 0,
    "a whole number above 1": lambda v: _whole(v) and v > 1,
    "a whole number, 1000 or above": lambda v: _whole(v) and v >= 1000,
    "a whole number above 0, or -1 for all": lambda v: _whole(v) and (v > 0 or v == -1),
    "a whole number from 0 to 4294967295": lambda v: type(v) is int and 0 <= v < 2**32,
    "a whole number from 0 to 65535": lambda v: type(v) is int and 0 <= v < 2**16,
    "a number": _number,
    "a number above 0": lambda v: _number(v) and v > 0,
    "a number, 0 or above": lambda v: _number(v) and v >= 0,
    "a number above 0 and below 1": lambda v: _number(v) and 0 < v < 1,
    "a number above 0, at most 1": lambda v: _number(v) and 0 < v <= 1,
    "a number from 0 to 1": lambda v: _number(v) and 0 <= v <= 1,
    "a number from 0 to 100": lambda v: _number(v) and 0 <= v <= 100,
    "a number from -100 to 100": lambda v: _number(v) and -100 <= v <= 100,
    "a number from 0 to below 1": lambda v: _number(v) and 0 <= v < 1,
    "a group of keys": lambda v: isinstance(v, dict),
    "names of layers, or all-linear": lambda v: v == ["x"],
    "null, higher or lower": lambda v: v is None,
}


def may_be_kept(words: str, value: Any) -> bool:
    if words.startswith("null or "):
        return value is None or may_be_kept(words.removeprefix("null or "), value)
    if words in KEPT:
        return bool(KEPT[words](value))
    if words.startswith("a rising list") or words.startswith("a list"):
        return isinstance(value, list)
    return isinstance(value, str) and value in words.replace(" or ", ", ").split(", ")


def told_of(value: Any) -> tuple[list[str], list[str]]:
    """Gives every setting at once the value; returns the keys that kept it and those that were refused by name.

    Raises:
        AssertionError: One is kept although its words do not allow it.
    """
    settings = [(key, words) for key, words, _, _ in described(RunSettings)]
    tree = shipped().plain()
    for key, _ in settings:
        tree = _with(tree, key.split("."), value)
    try:
        read_settings(RunSettings, tree)
        said = ""
    except UserError as error:
        said = str(error)
        assert "\n" not in said and said.startswith("The config is wrong: ")
    refused = [key for key, _ in settings if f" {key}=" in said]
    kept = [key for key, _ in settings if key not in refused]
    wrong = [f"{key} must be {words}" for key, words in settings if key in kept and not may_be_kept(words, value)]
    assert not wrong, f"{value!r} is kept: {wrong}"
    return kept, refused


def _with(tree: dict[str, Any], names: list[str], value: Any) -> dict[str, Any]:
    first, *rest = names
    return {**tree, first: _with(tree[first], rest, value) if rest else value}
