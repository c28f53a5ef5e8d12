import logging
import os
import signal
import sys
import time
import warnings
from contextlib import suppress
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from src.core.artefact import STUDENT, writing
from src.core.errors import UserError
from src.core.git_info import git_info
from src.core.paths import CONF_DIR
from src.core.settings_reading import read_settings
from src.exp.program.config import with_any_key
from src.exp.program.run import Run, command, start
from src.exp.program.settings import RunSettings
from tests.exp.roads import SMALL, place


@pytest.fixture
def started(tmp_path, monkeypatch):
    """Starts a job in a run directory of its own and returns that directory."""

    def start_in(job, *overrides: str) -> Path:
        monkeypatch.chdir(tmp_path)
        with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
            start(compose("config", with_any_key([*SMALL, *place(tmp_path), *overrides])), job)
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


@pytest.mark.parametrize("passed_on", [False, True])  # Transformers does where the variable CI is set
def test_the_log_alone_explains_a_fault(started, tmp_path, capsys, monkeypatch, passed_on):
    monkeypatch.setattr(logging.getLogger("transformers"), "propagate", passed_on)

    def stage_that_fails(run: Run) -> None:
        with run.stopwatch.stage("teacher: training"):
            logging.getLogger("transformers").handlers += [logging.NullHandler()]  # as it does when it is imported
            logging.getLogger("transformers").warning("Some weights were drawn at random")
            raise ZeroDivisionError("no batches")

    monkeypatch.setattr(sys, "orig_argv", ["python", "-m", "src.exp.run_all", "dataset.name=my log"])
    with pytest.raises(ZeroDivisionError):
        started(stage_that_fails)
    told = (tmp_path / "run.log").read_text()
    assert "Command: python -m src.exp.run_all 'dataset.name=my log'\n" in told
    for what in (f'torch": "{version("torch")}', git_info()["commit"], '"cpus": ', f"resolved: {tmp_path}/config.yaml"):
        assert what in told
    assert "── teacher: training" in told
    assert told.count("WARNING transformers: Some weights were drawn at random") == 1
    last = told[told.index("ERROR anyo: Ended by a fault of the program") :]
    assert "in stage_that_fails" in last and last.endswith("ZeroDivisionError: no batches\n")
    assert capsys.readouterr().err == "── teacher: training\n"  # the rest is for the file


def test_the_log_tells_the_status_of_a_stop(started, tmp_path):
    with pytest.raises(SystemExit):
        started(lambda run: sys.exit(143))
    assert (tmp_path / "run.log").read_text().endswith("INFO anyo: Ended with status 143\n")


def test_what_is_asked_for_of_mlflow_is_told_before_the_job(started, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("src.exp.program.mlflow_run.find_spec", lambda name: None)
    jobs = []
    with pytest.raises(SystemExit) as ended:
        started(jobs.append, "logging.mlflow=true")
    assert (ended.value.code, jobs) == (2, [])
    assert capsys.readouterr().err.startswith("error: logging.mlflow=true needs MLflow, which is not installed: ")


def test_a_wrong_config_ends_before_the_job(started, capsys):
    jobs = []
    with pytest.raises(SystemExit) as ended:
        started(jobs.append, "student.train.lr=-1", "seed=-3", "sead=3", "teacher.lora.dropout=1")
    assert ended.value.code == 2
    assert jobs == []
    told = capsys.readouterr().err
    for fault in ("student.train.lr=-1 must", "seed=-3 must", "sead is not known", "teacher.lora.dropout=1 must"):
        assert fault in told


def test_the_settings_are_kept_and_can_be_read_again(started, tmp_path):
    runs = []
    folder = started(runs.append, "seed=7")
    text = (folder / "config.yaml").read_text()
    assert "${" not in text
    kept = OmegaConf.load(folder / "config.yaml")
    assert kept.seed == 7
    assert kept.paths.models_dir == str(tmp_path / "models_dir")
    assert kept.student.train.warmup_share == 0.0  # a default of the types
    assert read_settings(RunSettings, OmegaConf.to_container(kept)) == runs[0].settings


def test_the_job_gets_its_run(started, tmp_path):
    runs = []
    started(runs.append, "paths.models_dir=${paths.root}/elsewhere")
    (run,) = runs
    assert run.dir == tmp_path
    assert run.settings.paths.models_dir == run.settings.paths.root / "elsewhere"
    assert run.settings.student.model.hidden_size == 8
    assert run.settings.metrics.ks == [1, 5]
    assert run.stopwatch.path == tmp_path / "metrics" / "time.json"


def speak(run: Run) -> None:
    logging.getLogger("somewhere").debug("whispered")
    logging.getLogger("somewhere").info("said")
    logging.getLogger("somewhere").warning("warned")
    warnings.warn("beware", UserWarning, stacklevel=1)


def test_the_log_goes_to_terminal_and_file_at_the_level_asked_for(started, capsys):
    folder = started(speak)
    terminal, file = capsys.readouterr().err, (folder / "run.log").read_text()
    assert terminal.startswith("said\n")
    assert "INFO somewhere: said" in file
    assert "beware" in terminal and "beware" in file
    assert "whispered" not in terminal + file


@pytest.mark.parametrize(("level", "heard"), [("DEBUG", ["whispered", "said", "warned"]), ("WARNING", ["warned"])])
def test_the_level_of_the_log_can_be_set(started, capsys, level, heard):
    started(speak, f"logging.level={level}")
    told = capsys.readouterr().err
    assert [word for word in ("whispered", "said", "warned") if word in told] == heard


def test_a_command_composes_its_overrides_in_a_folder_of_its_own(tmp_path, monkeypatch):
    runs = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["run_cake", f"hydra.run.dir={tmp_path / 'run'}", "seed=5", "curve.seeds=[1,2]"])
    command(runs.append, "src.exp.run_cake", "Bakes.")()
    (run,) = runs
    assert (run.settings.seed, run.settings.curve.seeds) == (5, [1, 2])
    assert run.dir == tmp_path / "run"
    assert (tmp_path / "run" / "config.yaml").is_file()


def test_two_runs_of_one_second_have_a_folder_each(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    runs = []
    noon = datetime(2026, 11, 21, 12)
    monkeypatch.setattr("hydra.core.utils.datetime", SimpleNamespace(now=lambda: noon))
    for _ in range(2):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["run_cake"])
        command(runs.append, "src.exp.run_cake", "Bakes.")()
    names = ["result_20261121_120000", "result_20261121_120000_2"]
    assert [run.dir for run in runs] == [tmp_path / "result" / name for name in names]
    assert sorted(path.name for path in (tmp_path / "result").iterdir()) == names


def test_ctrl_c_is_a_sentence_and_its_status(started, capsys):
    def interrupted(run: Run) -> None:
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as ended:
        started(interrupted)
    assert ended.value.code == 130
    assert capsys.readouterr().err == "Ended by Ctrl-C: the same command goes on with what is there.\n"


def test_sigterm_ends_as_an_exception_does_and_gives_its_status(started, tmp_path):
    def asked_to_end(run: Run) -> None:
        with writing(tmp_path / "artefact", STUDENT, {}):
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(9)

    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as ended:
        started(asked_to_end)
    assert ended.value.code == 143
    assert signal.getsignal(signal.SIGTERM) == before
    assert not [path for path in tmp_path.iterdir() if "artefact" in path.name]


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
@pytest.mark.parametrize("fault", [ValueError, BaseException])
def test_a_signal_that_a_library_turns_into_a_fault_of_its_own_ends_as_any_other(started, number, status, fault):
    """As Polars does, whose compiled code panics where an exception comes while it reads a Python object."""

    def asked_to_end(run: Run) -> None:
        try:
            os.kill(os.getpid(), number)
            time.sleep(9)
        except BaseException as error:
            raise fault("called `Result::unwrap()` on an `Err` value") from error

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where tests run in a background
    try:
        with pytest.raises(SystemExit) as ended:
            started(asked_to_end)
    finally:
        signal.signal(signal.SIGINT, before)
    assert ended.value.code == status


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["seed=[1"], "error: The config cannot be put together: no viable alternative at input '[1'"),
        (["student=foo"], "error: The config cannot be put together: In 'config': Could not find 'student/foo'"),
        (["seed=${nope}"], "error: The config cannot be put together: Interpolation key 'nope' not found"),
        (["student=tabs"], "error: The config cannot be put together: while scanning for the next token"),
        (["student=latin"], "error: The config cannot be put together: a YAML file is not UTF-8 text"),
    ],
)
def test_a_config_that_cannot_be_put_together_is_one_sentence_and_status_2(
    tmp_path, monkeypatch, capsys, arguments, said
):
    (tmp_path / "student").mkdir()
    (tmp_path / "student/tabs.yaml").write_text("name: sasrec\n\tlr: 1\n")
    (tmp_path / "student/latin.yaml").write_bytes("name: café\n".encode("latin-1"))
    where = [f"hydra.searchpath=[file://{tmp_path}]", f"hydra.run.dir={tmp_path / 'run'}"]
    monkeypatch.setattr(sys, "argv", ["run_compare", *where, *arguments])
    jobs: list[Run] = []
    with pytest.raises(SystemExit) as ended:
        command(jobs.append, "src.exp.run_compare", "Compares.")()
    assert ended.value.code == 2
    assert jobs == []
    told = capsys.readouterr().err
    assert told.startswith(said)
    assert told.count("\n") == 1


def test_a_fault_of_ours_is_not_told_as_one_of_the_config(tmp_path, monkeypatch):
    def fail(run: Run) -> None:
        raise ValueError("ours")

    monkeypatch.setattr(sys, "argv", ["run_compare", f"hydra.run.dir={tmp_path / 'run'}"])
    with pytest.raises(ValueError, match="ours"):
        command(fail, "src.exp.run_compare", "Compares.")()


def test_a_sentence_after_a_signal_that_a_library_has_swallowed_is_told(started, capsys):
    def swallowed(run: Run) -> None:
        with suppress(SystemExit):
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(9)
        raise UserError("The file is not there.")

    with pytest.raises(SystemExit) as ended:
        started(swallowed)
    assert ended.value.code == 2
    assert "The file is not there." in capsys.readouterr().err
