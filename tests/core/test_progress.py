import logging
import sys

import pytest

from src.core import progress as module
from src.core.progress import progress


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still until a test moves it."""
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return now


def test_a_log_file_gets_a_line_now_and_then_and_one_at_the_end(clock, caplog, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: False, raising=False)
    with caplog.at_level(logging.INFO), progress("teacher: training", 4000) as advance:
        advance(500)
        assert caplog.messages == []
        clock[0] += 20
        advance(500, "epoch 1")
        assert caplog.messages == ["teacher: training: 1,000 of 4,000, 20 s, ETA 60 s epoch 1"]
        clock[0] += 1
        advance(3000, "epoch 2")
    assert caplog.messages[1:] == ["teacher: training: 4,000 of 4,000 in 21 s"]


def test_a_terminal_gets_a_bar(monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with progress("ranking", 8) as advance:
        advance(3)
        advance(5, "epoch 2")
    shown = capsys.readouterr()
    assert shown.out == ""
    for words in ("ranking", "8/8", "ETA", "epoch 2"):
        assert words in shown.err


def test_a_fault_inside_passes_through():
    with pytest.raises(ZeroDivisionError), progress("ranking", 2):
        raise ZeroDivisionError
