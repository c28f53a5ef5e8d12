from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from src.core import paths
from src.core.paths import CONF_DIR, ROOT, absolute, command_line, new_folder


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("runs/a.json", "/started/here/runs/a.json"), ("/data", "/data"), ("~/data", "/home/me/data"), (None, None)],
)
def test_a_path_is_seen_from_where_the_program_was_started(monkeypatch, typed, meant):
    monkeypatch.setattr(paths, "_START_DIR", Path("/started/here"))
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.chdir("/")
    assert absolute(typed) == meant


@pytest.mark.parametrize(
    ("in_checkout", "typed"),
    [(True, "poetry run python -m src.exp.run_eval_all"), (False, "anyo run-eval-all")],
)
def test_a_command_is_told_as_a_user_types_it(monkeypatch, in_checkout, typed):
    monkeypatch.setattr(paths, "IN_CHECKOUT", in_checkout)
    assert command_line("run_eval_all") == typed


def test_the_shipped_config_is_where_the_program_looks_for_it():
    assert (CONF_DIR / "config.yaml").is_file()
    assert ROOT == CONF_DIR.parent == Path(__file__).parents[2]


def test_everyone_who_asks_at_once_gets_a_folder_of_his_own(tmp_path):
    """Two runs that are started in one second."""
    with ThreadPoolExecutor(8) as pool:
        folders = list(pool.map(new_folder, [str(tmp_path / "deep" / "run")] * 8))
    assert sorted(folders) == sorted(str(path) for path in (tmp_path / "deep").iterdir())
    assert {Path(folder).name for folder in folders} == {"run", *(f"run_{number}" for number in range(2, 9))}
