"""Tasks done together: each once, by whoever comes first."""

import os
import signal
import threading
import time
from pathlib import Path

import pytest

from src.core.sharing.claims import Claims
from src.core.sharing.work import Task, do_together
from tests.processes import child


def tasks(folder: Path, number: int = 6, seconds: float = 0.0) -> list[Task]:
    """Each makes a file of its name and notes who made it."""

    def make(name: str) -> None:
        time.sleep(seconds)
        with (folder / "made").open("a") as file:
            file.write(f"{name} {os.getpid()}\n")
        (folder / name).write_text(name)

    return [
        Task(folder / f"{name}.claim", (folder / name).exists, lambda name=name: make(name))
        for name in map(str, range(number))
    ]


def made(folder: Path) -> list[tuple[str, str]]:
    return [tuple(line.split()) for line in (folder / "made").read_text().splitlines()]


def never() -> bool:
    return False


def test_alone_one_does_them_in_order_but_for_those_that_are_there(tmp_path):
    (tmp_path / "2").touch()
    assert do_together(tasks(tmp_path), Claims(60), never)
    assert [name for name, _ in made(tmp_path)] == ["0", "1", "3", "4", "5"]
    assert not list(tmp_path.glob("*.claim"))


def test_two_processes_share_them_and_both_end_when_all_are_done(tmp_path):
    def work():
        assert do_together(tasks(tmp_path, 12, seconds=0.05), Claims(60), never)
        assert all((tmp_path / str(name)).exists() for name in range(12))

    ends = [child(work) for _ in range(2)]
    assert [end(None) for end in ends] == [0, 0]
    assert sorted(name for name, _ in made(tmp_path)) == sorted(map(str, range(12)))
    assert len({who for _, who in made(tmp_path)}) == 2


def test_what_a_killed_one_was_at_is_done_by_the_other(tmp_path):
    end = child(lambda: do_together(tasks(tmp_path, 3, seconds=60), Claims(60), never))
    while not (tmp_path / "0.claim").exists():
        time.sleep(0.01)
    end(signal.SIGKILL)
    assert do_together(tasks(tmp_path, 3), Claims(60), never)
    assert [name for name, _ in made(tmp_path)] == ["0", "1", "2"]


def test_nothing_is_done_when_it_is_over(tmp_path):
    assert not do_together(tasks(tmp_path), Claims(60), lambda: True)
    assert not (tmp_path / "made").exists()


def test_one_that_waits_for_another_ends_when_it_is_over(tmp_path):
    over = threading.Event()
    with Claims(60).take(tmp_path / "0.claim"):
        threading.Timer(0.2, over.set).start()
        assert not do_together(tasks(tmp_path, 1), Claims(60), over.is_set)


def test_a_fault_of_ours_is_told(tmp_path):
    def fail() -> None:
        raise PermissionError("no")

    with pytest.raises(PermissionError):
        do_together([Task(tmp_path / "0.claim", never, fail)], Claims(60), never)
    assert not list(tmp_path.glob("*.claim"))


def test_where_another_took_over_and_put_its_own_there_ours_need_not_fit(tmp_path):
    there = tmp_path / "0"

    def collide() -> None:
        there.mkdir()  # the other's
        raise OSError("Directory not empty")

    assert do_together([Task(tmp_path / "0.claim", there.exists, collide)], Claims(60), never)
