import fcntl
import logging
import os
import re
import struct
import subprocess
import sys
import termios

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
    assert caplog.messages[1:] == ["teacher: training: 4,000 of 4,000 in 21 s, epoch 2"]


def test_how_far_it_came_is_told_of_what_breaks_off_too(clock, caplog):
    with caplog.at_level(logging.INFO), pytest.raises(ZeroDivisionError), progress("ranking", 2000) as advance:
        advance(1500)
        clock[0] += 3
        raise ZeroDivisionError
    assert caplog.messages == ["ranking: 1,500 of 2,000 in 3 s"]


IN_A_TERMINAL = """
import logging, sys, time
from pathlib import Path
from src.core.logging import RunLog
from src.core.progress import progress
RunLog(Path(sys.argv[1]))
with progress("distilled: training", 1_234_567) as advance:
    for _ in range(3):
        advance(400_000, "epoch 12 val NDCG@10 0.0713")
        time.sleep(0.2)
    logging.warning("said meanwhile")
"""


def test_a_terminal_of_80_columns_shows_eta_and_figure_and_the_log_has_plain_lines(tmp_path):
    terminal, its_end = os.openpty()
    fcntl.ioctl(its_end, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    command = [sys.executable, "-c", IN_A_TERMINAL, str(tmp_path / "run.log")]
    child = subprocess.Popen(
        command, stdin=its_end, stdout=its_end, stderr=its_end, env={**os.environ, "TERM": "xterm"}
    )
    os.close(its_end)
    shown = _read(terminal)
    assert child.wait() == 0
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown)
    lines = [line.rstrip() for line in re.split("[\r\n]+", plain) if line.strip()]
    bars = [line for line in lines if "━" in line]
    assert any(
        re.fullmatch(r"distilled: training [━╸╺]+ +97% ETA 0:00:\d\d epoch 12 val NDCG@10 0\.0713", bar) for bar in bars
    )
    assert max(map(len, bars)) <= 80
    assert "said meanwhile" in lines  # on a line of its own
    assert re.fullmatch(r"distilled: training: 1,200,000 of 1,234,567 in \d s, epoch 12 val NDCG@10 0\.0713", lines[-1])
    told = (tmp_path / "run.log").read_text()
    assert told.endswith(f"{lines[-1]}\n") and "━" not in told


def _read(terminal: int) -> str:
    shown = b""
    while True:
        try:
            part = os.read(terminal, 65536)
        except OSError:  # the other end is closed
            part = b""
        if not part:
            os.close(terminal)
            return shown.decode()
        shown += part
