import logging
import sys
from importlib import import_module
from pathlib import Path

import pytest

from tests.exp.roads import SMALL, place


@pytest.fixture(autouse=True)
def logging_as_before():
    """`start` sets up the log of the whole process; a test gives it back."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    logging.captureWarnings(False)
    for handler in root.handlers:
        if handler not in handlers:
            handler.close()
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
def started(tmp_path, monkeypatch, capsys):
    """Runs an entry point; returns its exit status, what it prints and what it says."""

    def run(command: str, data_dir: Path, folder: Path, *overrides: str) -> tuple[int, str, str]:
        monkeypatch.setenv("ANYO_DATA_DIR", str(data_dir))
        arguments = [*SMALL, *place(folder), f"hydra.run.dir={tmp_path / 'started'}", *overrides]
        monkeypatch.setattr(sys, "argv", [command, *arguments])
        status = 0
        try:
            import_module(f"src.exp.{command}").main()
        except SystemExit as ended:
            status = ended.code
        told = capsys.readouterr()
        assert "Traceback" not in told.err
        return status, told.out, told.err

    return run
