"""Several processes at one export: each unit is asked by one of them, and what comes of it has the bytes of one's."""

import json
import os
import shutil
import signal
import time
from pathlib import Path

import pytest

from src.core.artefact import digest, read_manifest, unfinished
from src.exp.stages.teacher.outputs import TeacherOutputsStage
from src.teacher.exporting import units
from src.teacher.exporting.units import Units
from tests.processes import child

SMALL_READINGS = ["active.share=1.0", "teacher.eval_tokens=120", "teacher.export.lost_after=60"]


class Asked:
    """What processes are asked about, noted in a file by each as it begins with a unit. What is set here counts for
    processes that begin later.

    together: Nobody goes on with a unit before so many processes have begun with one.
    hangs_at: The how-manieth unit of a process never ends.
    """

    def __init__(self, file: Path) -> None:
        self.file, self.together, self.hangs_at = file, 1, None

    def note(self, key: str, unit: int) -> None:
        with self.file.open("a") as file:
            file.write(f"{os.getpid()} {key} {unit}\n")
        mine = sum(process == os.getpid() for process, *_ in self.noted)
        while mine == self.hangs_at or len(self.processes) < self.together:
            time.sleep(0.01)

    @property
    def noted(self) -> list[tuple[int, str, int]]:
        lines = self.file.read_text().splitlines() if self.file.exists() else []
        return [(int(process), key, int(unit)) for process, key, unit in map(str.split, lines)]

    @property
    def units(self) -> list[int]:
        return [unit for *_, unit in self.noted]

    @property
    def processes(self) -> set[int]:
        return {process for process, *_ in self.noted}

    def wait_for(self, count: int) -> None:
        """Returns when so many units were begun with."""
        while len(self.noted) < count:
            time.sleep(0.01)


@pytest.fixture
def asked(tmp_path, monkeypatch) -> Asked:
    found, ask = Asked(tmp_path / "asked"), Units.ask
    monkeypatch.setattr(units, "PART", 1)
    monkeypatch.setattr(Units, "ask", lambda self, unit: found.note(self.key, unit) or ask(self, unit))
    return found


@pytest.fixture
def outputs(made, asked):
    """Returns the stage, by its overrides, as a process of its own would have it."""
    return lambda *overrides: made(*SMALL_READINGS, *overrides).outputs


@pytest.fixture(scope="module")
def known() -> dict[int, tuple[str, int]]:
    """What `alone` has found, by what is read at once."""
    return {}


@pytest.fixture
def alone(asked, known):
    """Returns the digest of what one process by itself makes of a stage, and how many units it asks for that."""

    def find(stage: TeacherOutputsStage) -> tuple[str, int]:
        at_once = stage.settings.teacher.eval_tokens
        if at_once not in known:
            assert child(stage.ensure)(None) == 0
            known[at_once] = digest(stage.folder), len(asked.noted)
            shutil.rmtree(stage.folder)
            asked.file.unlink()
        return known[at_once]

    return find


def beside(folder: Path) -> list[str]:
    names = {path.name for path in folder.parent.iterdir() if folder.name in path.name}
    return sorted(names - {folder.name, f".{folder.name}.lock", f".{folder.name}.owner"})


def killed(stage: TeacherOutputsStage, asked: Asked, at: int) -> None:
    """Begins to make the artefact in a process that is killed while it is at a unit."""
    asked.hangs_at = at
    end = child(stage.ensure)
    asked.wait_for(at)
    assert end(signal.SIGKILL) == -signal.SIGKILL
    asked.hangs_at = None


def test_two_processes_at_once_write_what_one_does_and_ask_once(outputs, asked, alone):
    stage = outputs()
    expected, count = alone(stage)
    asked.together = 2
    ends = [child(outputs().ensure) for _ in range(2)]
    assert [end(None) for end in ends] == [0, 0]
    assert digest(stage.folder) == expected
    assert sorted(asked.units) == list(range(count)) and count > 5
    assert len(asked.processes) == 2
    assert beside(stage.folder) == []
    manifest = read_manifest(stage.folder)
    assert manifest["num_examples"] == len(stage.prepared.dataset.examples["train"])
    assert manifest["seconds"] > 0 and manifest["tokens_read"] > 0


def test_what_a_killed_process_was_at_is_done_by_the_other(outputs, asked, alone):
    stage = outputs()
    expected, count = alone(stage)
    asked.hangs_at = 2
    first = child(outputs().ensure)
    asked.wait_for(2)
    asked.hangs_at = None
    second = child(outputs().ensure)
    asked.wait_for(count)  # all but the one that the first is at
    assert not stage.folder.exists()
    assert first(signal.SIGKILL) == -signal.SIGKILL
    assert second(None) == 0
    assert digest(stage.folder) == expected
    assert sorted(asked.units) == sorted([*range(count), 1])
    assert beside(stage.folder) == []


def test_what_a_lost_machine_was_at_is_taken_over_in_time(outputs, asked, alone):
    stage = outputs()
    expected, _ = alone(stage)
    killed(outputs(), asked, at=2)
    (claim,) = unfinished(stage.folder).glob("*.claim")
    _, process, token = json.loads(claim.read_text())
    claim.write_text(json.dumps(["another machine", process, token]))
    assert child(outputs("teacher.export.lost_after=0.5").ensure)(None) == 0
    assert digest(stage.folder) == expected
    assert beside(stage.folder) == []


def test_one_that_begins_when_all_units_are_there_writes_the_whole(outputs, asked, alone, monkeypatch):
    stage = outputs()
    expected, count = alone(stage)
    with monkeypatch.context() as killing:
        killing.setattr("src.teacher.export.write_rankings", lambda *_: os.kill(os.getpid(), signal.SIGKILL))
        assert child(outputs().ensure)(None) == -signal.SIGKILL
    assert child(outputs().ensure)(None) == 0
    assert asked.units == list(range(count))
    assert digest(stage.folder) == expected
    assert beside(stage.folder) == []


def test_other_settings_that_change_what_is_read_at_once_share_no_unit(outputs, asked, alone):
    """Both are of one artefact: numbers that are the same up to rounding; but one's files are of one kind."""
    stage, other = outputs(), outputs("teacher.eval_tokens=200")
    assert stage.folder == other.folder
    expected, count = alone(other)
    killed(stage, asked, at=3)
    assert child(other.ensure)(None) == 0
    assert digest(stage.folder) == expected
    keys = [key for _, key, _ in asked.noted]
    assert len(set(keys)) == 2 and keys.count(keys[-1]) == count


def test_of_two_kinds_at_once_all_end_when_the_first_is_there(outputs, asked, alone):
    stage, other = outputs(), outputs("teacher.eval_tokens=200")
    either = {alone(each)[0] for each in (stage, other)}
    asked.together = 2
    ends = [child(each.ensure) for each in (stage, other)]
    assert [end(None) for end in ends] == [0, 0]
    assert digest(stage.folder) in either
    assert beside(stage.folder) == []


def test_one_that_begins_later_helps(outputs, asked, alone):
    stage = outputs()
    expected, count = alone(stage)
    asked.together = 2
    first = child(stage.ensure)
    asked.wait_for(1)
    assert child(outputs().ensure)(None) == 0
    assert first(None) == 0
    assert len(asked.processes) == 2 and len(asked.units) == count
    assert digest(stage.folder) == expected


def test_made_again_by_two_it_is_another_making_of_the_same(outputs, asked):
    stage = outputs()
    assert child(stage.ensure)(None) == 0
    before, bytes_before, count = stage.there(), digest(stage.folder), len(asked.units)
    asked.file.unlink()
    asked.together = 2
    ends = [child(outputs("rerun=true").ensure) for _ in range(2)]
    assert [end(None) for end in ends] == [0, 0]
    assert stage.there() != before and digest(stage.folder) == bytes_before
    assert sorted(asked.units) == list(range(count))
    assert beside(stage.folder) == []
