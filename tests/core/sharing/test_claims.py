"""Claims as files: one owner at a time, alive or lost."""

import json
import os
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from src.core.sharing import claims as claims_module
from src.core.sharing.claims import Claims, is_alive
from tests.processes import child


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "folder" / "one.claim"


def written(path: Path, host: str, process: int) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps([host, process, "a token"]))


def gone() -> int:
    """Returns the number of a process of this machine that is no more."""
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    return pid


@pytest.fixture
def clock(monkeypatch) -> Callable[[float], None]:
    """Moves this machine's clock on."""
    now = [1000.0]
    monkeypatch.setattr(claims_module.time, "monotonic", lambda: now[0])

    def move_on(seconds: float) -> None:
        now[0] += seconds

    return move_on


def is_taken(claims: Claims, path: Path) -> bool:
    with claims.take(path) as claim:
        return claim is not None


def test_one_holds_a_claim_until_its_block_ends(path):
    mine, other = Claims(60), Claims(60)
    with mine.take(path) as claim:
        assert claim is not None and claim.holds()
        host, process, _ = json.loads(path.read_text())
        assert (host, process) == (socket.gethostname(), os.getpid())
        with other.take(path) as second:
            assert second is None
        assert claim.holds()
    assert not path.exists()
    with other.take(path) as claim:
        assert claim is not None


def test_a_failure_gives_the_claim_back(path):
    with pytest.raises(RuntimeError), Claims(60).take(path):
        raise RuntimeError
    assert list(path.parent.iterdir()) == []


def test_the_claim_of_a_process_of_this_machine_that_is_no_more_is_taken_over_at_once(path):
    written(path, socket.gethostname(), gone())
    with Claims(3600).take(path) as claim:
        assert claim is not None and claim.holds()
    assert list(path.parent.iterdir()) == []


def test_that_of_another_machine_is_when_it_gave_no_sign_of_life_while_we_looked_on(path, clock):
    written(path, "elsewhere", gone())
    os.utime(path, (0, 0))  # long ago; but clocks of two machines differ, and what counts is what this one saw
    claims = Claims(60)
    assert not is_taken(claims, path)
    clock(59)
    assert not is_taken(claims, path)
    clock(2)
    assert is_taken(claims, path)


def test_it_is_not_while_it_gives_signs_of_life(path, clock):
    written(path, "elsewhere", 1)
    claims = Claims(60)
    for beat in range(5):
        os.utime(path, (beat, beat))
        assert not is_taken(claims, path)
        clock(50)
    assert not is_taken(claims, path)
    clock(11)
    assert is_taken(claims, path)


def test_a_claim_that_is_held_gives_signs_of_life(path):
    with Claims(0.1).take(path):
        os.utime(path, (0, 0))
        while path.stat().st_mtime_ns == 0:
            time.sleep(0.01)


@pytest.mark.parametrize("content", ["", "5", '["half a cl', "[1, 2, 3]", "\xff\0"])
def test_one_that_nobody_can_read_is_taken_over_like_any_other(path, content, clock):
    path.parent.mkdir()
    path.write_text(content, encoding="latin-1")
    claims = Claims(60)
    assert not is_taken(claims, path)
    clock(61)
    assert is_taken(claims, path)


def test_whoever_lost_a_claim_knows_it_and_leaves_the_next_ones_alone(path):
    with Claims(60).take(path) as claim:
        written(path, "elsewhere", 1)
        assert not claim.holds()
    assert json.loads(path.read_text())[0] == "elsewhere"


def test_of_two_that_take_over_at_the_same_moment_one_does(path, monkeypatch):
    """The second has judged the lost claim, and moves away what the first has put there in its place."""
    written(path, socket.gethostname(), gone())
    first, second = Claims(60), Claims(60)
    judged = second._lost(path)
    with first.take(path) as claim:
        monkeypatch.setattr(second, "_lost", lambda path: judged)
        with second.take(path) as other:
            assert other is None
        assert claim.holds()
    assert list(path.parent.iterdir()) == []


def test_many_processes_that_want_the_same_are_never_at_it_together(path, tmp_path):
    written(path, socket.gethostname(), gone())  # all find it lost at the same moment
    shared = tmp_path / "at_it"

    def work():
        claims = Claims(60)
        for _ in range(30):
            with claims.take(path) as claim:
                if claim is not None:
                    shared.mkdir()  # fails where it is there
                    shared.rmdir()

    ends = [child(work) for _ in range(4)]
    assert [end(None) for end in ends] == [0] * 4


def test_a_killed_process_of_this_machine_holds_nothing(path):
    def hold():
        with Claims(3600).take(path):
            time.sleep(60)

    end = child(hold)
    while not path.exists():
        time.sleep(0.01)
    assert end(signal.SIGKILL) == -signal.SIGKILL
    with Claims(3600).take(path) as claim:
        assert claim is not None


def test_processes_are_told_from_those_that_are_no_more():
    assert is_alive(os.getpid()) and is_alive(1)
    assert not is_alive(gone())
