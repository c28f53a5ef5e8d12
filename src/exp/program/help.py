"""`--help`: what a command does, the choices of the config, every key with what it must be and what it means."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ...core.paths import CONF_DIR, command_line
from ...core.settings import Settings
from ...core.settings_reading import described
from ...student.settings import LOSS_SETTINGS, MODEL_SETTINGS
from ...teacher.settings import ROUTER_SETTINGS
from .settings import RunSettings

NO_CHOICES = {"hydra", "paths", "search/space"}
AS_STUDENT = "teacher.user_encoder."


def help_text(command: str, does: str) -> str:
    """Returns the help of a command, whose module's docstring says what it `does`."""
    lines = [
        does.strip(),
        "",
        f"usage: {command_line(command)} [choice=option ...] [key=value ...]",
        "",
        "Choices (a folder of conf/ each; student@teacher.user_encoder chooses among students, too):",
        *(_told(name, options) for name, options in _choices()),
        "",
        "Keys (what they must be, [default], meaning):",
        *_keys(RunSettings, ""),
        "",
        "Keys of a chosen model, loss or router (student.model.*, student.loss.*, teacher.router.*):",
    ]
    for at, kinds in (("student.model", MODEL_SETTINGS), ("student.loss", LOSS_SETTINGS),
                      ("teacher.router", ROUTER_SETTINGS)):  # fmt: skip
        for name, kind in kinds.items():
            lines += [f"  {name}:", *(line for line in _keys(kind, f"{at}.") if f"{at}.name " not in line)]
    more = "Hydra's own options: --cfg job (the config as it is composed), -m (several runs: seed=0,1,2), --hydra-help."
    return "\n".join([*lines, "", more])


def _choices() -> Iterator[tuple[str, dict[str, str]]]:
    folders = sorted({path.parent for path in CONF_DIR.rglob("*.yaml")} - {CONF_DIR})
    for folder in folders:
        name = folder.relative_to(CONF_DIR).as_posix()
        if name not in NO_CHOICES:
            yield name, {path.stem: _first_comment(path) for path in sorted(folder.glob("*.yaml"))}


def _first_comment(path: Path) -> str:
    comments = (line for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("# "))
    return next((line[2:] for line in comments if not line.startswith("# @")), "")


def _told(name: str, options: dict[str, str]) -> str:
    return "\n".join([f"  {name}=", *(f"    {option:24}{meaning}".rstrip() for option, meaning in options.items())])


def _keys(kind: type[Settings], at: str) -> Iterator[str]:
    for key, words, default, meaning in described(kind, at):
        if key == f"{AS_STUDENT}name":
            yield f"  {AS_STUDENT}*: as student.*, of the frozen student behind gate and markers"
        if key.startswith(AS_STUDENT):
            continue
        yield f"  {key} ({words}){'' if default is ... else f' [{_written(default)}]'}: {meaning}"


def _written(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False).replace('"', "")
