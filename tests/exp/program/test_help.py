import importlib
import sys

import pytest

from src.core.paths import CONF_DIR
from src.core.settings_reading import described, words_of
from src.exp.program.help import help_text
from src.exp.program.settings import RunSettings
from src.student.settings import LOSS_SETTINGS, MODEL_SETTINGS
from src.teacher.settings import ROUTER_SETTINGS
from tests.exp.keys import DEFAULT, composed, leaves

COMMANDS = sorted(path.stem for path in (CONF_DIR.parent / "src" / "exp").glob("*.py") if path.stem != "__init__")
TEXT = help_text("run_all", "Bakes a cake.")
LINES = TEXT.splitlines()


def test_it_begins_with_what_the_command_does_and_how_it_is_started():
    assert LINES[0] == "Bakes a cake."
    assert "usage: poetry run python -m src.exp.run_all [choice=option ...] [key=value ...]" in LINES


def test_every_option_of_every_choice_is_told_with_its_first_line():
    options = [path for path in CONF_DIR.rglob("*.yaml") if path.parent != CONF_DIR]
    groups = {path.parent.relative_to(CONF_DIR).as_posix() for path in options}
    told = {line.strip().rstrip("=") for line in LINES if line.startswith("  ") and line.endswith("=")}
    assert told == groups - {"hydra", "paths", "search/space"}
    at = LINES.index("  teacher/llm=")
    assert LINES[at + 1].split(maxsplit=1) == ["gemma_2b_it", "Gemma 2B, instruction-tuned, causal."]
    for path in options:
        if path.parent.relative_to(CONF_DIR).as_posix() in told:
            assert any(line.startswith(f"    {path.stem}") for line in LINES), path


@pytest.mark.parametrize("path", sorted(CONF_DIR.rglob("*.yaml")), ids=lambda path: path.stem)
def test_every_file_says_in_a_line_what_it_is(path):
    if path.parent.name not in ("hydra", "logging"):
        first = next(line for line in path.read_text().splitlines() if not line.startswith("# @package"))
        assert first.startswith("# ")
        assert first.removeprefix("# ") in TEXT or path.parent.name in ("conf", "paths", "space")


def test_every_key_is_told_with_what_it_must_be_its_default_and_its_meaning():
    patience = "epochs without a rise of validation NDCG@10 before training stops"
    assert f"  student.train.patience (a whole number above 0) [25]: {patience}" in LINES
    assert any(line.startswith("  student.train.lr (a number above 0): ") for line in LINES)
    for key, words, _, meaning in described(RunSettings):
        encoder = key.startswith("teacher.user_encoder.")
        assert encoder or any(line.startswith(f"  {key} ({words})") and line.endswith(meaning) for line in LINES), key


def test_no_key_of_a_config_is_left_out():
    chosen = ("student.model.", "student.loss.", "teacher.router.", "teacher.user_encoder.")
    for key in leaves(composed(DEFAULT)):
        assert key.startswith(chosen) or any(line.startswith(f"  {key} (") for line in LINES), key
    assert any(line.startswith("  teacher.user_encoder.*: as student.*") for line in LINES)


@pytest.mark.parametrize(
    ("at", "kinds"),
    [("student.model", MODEL_SETTINGS), ("student.loss", LOSS_SETTINGS), ("teacher.router", ROUTER_SETTINGS)],
)
def test_keys_of_every_kind_of_model_loss_and_router_are_told_below_its_name(at, kinds):
    for name, kind in kinds.items():
        below = LINES[len(LINES) - LINES[::-1].index(f"  {name}:") :]
        for field_name, field in kind.model_fields.items():
            line = f"  {at}.{field_name} ({words_of(field)})"
            assert field_name == "name" or any(each.startswith(line) for each in below[: len(kind.model_fields)])


def test_every_setting_has_a_meaning():
    kinds = [RunSettings, *MODEL_SETTINGS.values(), *LOSS_SETTINGS.values(), *ROUTER_SETTINGS.values()]
    assert not [key for kind in kinds for key, _, _, meaning in described(kind) if not meaning]


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("asked", ["--help", "-h"])
def test_every_command_tells_what_it_does_and_does_nothing(command, asked, monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [command, "seed=1", asked])
    module = importlib.import_module(f"src.exp.{command}")
    module.main()
    told = capsys.readouterr().out
    assert told.startswith(module.__doc__.strip())
    assert f"src.exp.{command} [choice=option" in told
    assert not list(tmp_path.iterdir())
