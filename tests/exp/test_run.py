import logging
import warnings
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

from src.core.errors import UserError
from src.exp.run import Run, start
from tests.exp.roads import SMALL, compose_with, place


@pytest.fixture
def started(tmp_path, monkeypatch):
    """Starts a job in a run directory of its own and returns that directory."""

    def start_in(job, *overrides: str) -> Path:
        monkeypatch.chdir(tmp_path)
        start(compose_with(*SMALL, *place(tmp_path), *overrides), job)
        return tmp_path

    return start_in


def refuse(run: Run) -> None:
    raise UserError("The cake is burnt: bake another.")


def test_a_user_error_is_one_sentence_and_status_2(started, tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        started(refuse)
    assert ended.value.code == 2
    assert capsys.readouterr().err == "error: The cake is burnt: bake another.\n"
    assert "ERROR" in (tmp_path / "run.log").read_text()
    assert "The cake is burnt" in (tmp_path / "run.log").read_text()


def test_any_other_exception_is_a_fault_and_keeps_its_traceback(started):
    def fail(run: Run) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        started(fail)


def test_a_wrong_config_ends_before_the_job(started, capsys):
    jobs = []
    with pytest.raises(SystemExit) as ended:
        started(jobs.append, "student.train.lr=-1", "seed=-3")
    assert ended.value.code == 2
    assert jobs == []
    told = capsys.readouterr().err
    assert "student.train.lr=-1" in told and "seed=-3" in told


def test_the_resolved_config_is_kept(started, tmp_path):
    folder = started(lambda run: None, "seed=7")
    text = (folder / "config.yaml").read_text()
    assert "${" not in text
    kept = OmegaConf.load(folder / "config.yaml")
    assert kept.seed == 7
    assert kept.paths.models_dir == str(tmp_path / "models_dir")


def test_the_job_gets_its_run(started, tmp_path):
    runs = []
    started(runs.append, "paths.models_dir=${paths.root}/elsewhere")
    (run,) = runs
    assert run.dir == tmp_path
    assert run.path("models_dir") == Path(run.cfg.paths.root) / "elsewhere"
    assert run.settings("paths")["models_dir"] == str(run.path("models_dir"))
    assert run.settings("student.model")["hidden_size"] == 8
    assert run.settings("metrics.ks") == [1, 5]


def test_randomness_is_seeded_before_the_job(started):
    drawn = []
    for seed in (3, 3, 4):
        started(lambda run: drawn.append(torch.rand(1).item()), f"seed={seed}")
    assert drawn[0] == drawn[1] != drawn[2]


def test_the_log_goes_to_terminal_and_file_at_the_level_asked_for(started, capsys):
    def speak(run: Run) -> None:
        logging.getLogger("somewhere").debug("whispered")
        logging.getLogger("somewhere").info("said")
        warnings.warn("beware", UserWarning, stacklevel=1)

    folder = started(speak)
    terminal, file = capsys.readouterr().err, (folder / "run.log").read_text()
    assert terminal.startswith("said\n")
    assert "INFO somewhere: said" in file
    assert "beware" in terminal and "beware" in file
    assert "whispered" not in terminal + file
