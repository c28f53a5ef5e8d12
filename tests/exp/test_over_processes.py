"""Commands over several processes: what they make, and how they end."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from src.core.artefact import MANIFEST
from src.core.paths import ROOT
from tests.exp.roads import SMALL, place
from tests.processes import command_together
from tests.worlds import tiny_logs, tiny_titles, write_raw_log

pytestmark = pytest.mark.slow

ALIKE = [  # nothing is drawn within a step
    "student.model.dropout=0.0",
    "student.train.precision=32-true",
    "teacher.user_encoder.model.dropout=0.0",
    "teacher.user_encoder.train.precision=32-true",
]
EVERY_TERM = [
    "student.train.batch_targets=9",
    "teacher.train.max_epochs=2",
    "teacher.train.max_tokens=300",
    "teacher.train.accumulate=2",
    "teacher.train.gradient_clip=0.5",
    "teacher.export.user_states=true",
    "distill.lam=0.8",
    "distill.alpha=0.3",
    "distill.hint=0.2",
    "distill.kl.weight=0.5",
    "distill.rd.weight=0.3",
    "distill.soft_targets.weight=0.5",
    "distill.soft_targets.rest=true",
    "distill.weighting=kl_divergence",
    "distill.text_init=0.0",
]
LONG = ["student.train.max_epochs=30", "student.train.patience=30", "student.train.batch_targets=9"]


@pytest.fixture(scope="module")
def seven_users(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("raw")
    write_raw_log(tiny_logs(7), tiny_titles(), folder)
    return folder


def arguments(folder: Path, raw: Path, *overrides: str) -> list[str]:
    raw_dirs = f"paths.raw_dirs=[{raw}]"
    return [*SMALL, *ALIKE, *place(folder), raw_dirs, f"hydra.run.dir={folder / 'run'}", *overrides]


def manifests(folder: Path) -> Iterator[tuple[str, dict]]:
    for path in sorted((folder / "models_dir").glob(f"*/*/{MANIFEST}")):
        yield path.parent.name, json.loads(path.read_text())


def metrics_of(folder: Path) -> dict[str, dict]:
    files = ("popularity", "baseline", "teacher", "distilled")
    read = {name: json.loads((folder / "run" / "metrics" / f"{name}.json").read_text()) for name in files}
    return {name: {key: value for key, value in each["metrics"].items()} for name, each in read.items()}


def same_curves(one: dict, other: dict, within: float = 1e-6) -> None:
    for point, same in zip(one["result"]["curve"], other["result"]["curve"], strict=True):
        del point["seconds"], same["seconds"]
        assert point == pytest.approx(same, rel=within, abs=within)


def test_the_whole_road_is_that_of_one_process(seven_users, tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    assert command_together("src.exp.run_all", arguments(one, seven_users, *EVERY_TERM), 1) == [0]
    assert command_together("src.exp.run_all", arguments(two, seven_users, *EVERY_TERM), 2) == [0, 0]
    pairs = list(zip(manifests(one), manifests(two), strict=True))
    assert len(pairs) == 5  # baseline, user encoder, teacher, calibration, distilled student
    for (name, manifest), (same_name, same) in pairs:
        assert name == same_name and manifest.keys() == same.keys()
        if "curve" in manifest["result"]:
            same_curves(manifest, same)
        for key in ("kind", "format", "seed", "dataset_fingerprint", "precision"):
            assert manifest.get(key) == same.get(key)
    for name, figures in metrics_of(one).items():
        assert metrics_of(two)[name] == pytest.approx(figures, rel=1e-6, abs=1e-6)
    assert [path.name for path in tmp_path.glob("two/run*")] == ["run"]  # the second process has none of its own
    assert len(list((two / "run" / "tensorboard" / "baseline").glob("events*"))) == 1
    assert (two / "run" / "run.log").read_text().count("made: ") == (one / "run" / "run.log").read_text().count(
        "made: "
    )


def test_a_teacher_of_a_shared_language_model_is_that_of_one_process_and_one_goes_the_rest_of_the_road(
    seven_users, tmp_path
):
    how = ["teacher.train.accumulate=2", "teacher.train.max_tokens=300", "teacher.llm.gradient_checkpointing=true"]
    for folder, processes, shard in (("one", 1, "false"), ("two", 2, "true")):
        overrides = arguments(tmp_path / folder, seven_users, *how, f"trainer.shard={shard}")
        assert command_together("src.exp.run_all", overrides, processes) == [0] * processes
    pairs = list(zip(manifests(tmp_path / "one"), manifests(tmp_path / "two"), strict=True))
    for (name, manifest), (same_name, same) in pairs:
        assert name == same_name
        if "curve" in manifest["result"]:
            same_curves(manifest, same)
    for name, figures in metrics_of(tmp_path / "one").items():
        assert metrics_of(tmp_path / "two")[name] == pytest.approx(figures, rel=1e-6, abs=1e-6)


# --- the launcher


@pytest.fixture
def launched(seven_users, tmp_path):
    """Starts run_student_baseline over two processes; waits until it has kept where it stands."""
    started: list[subprocess.Popen] = []

    def start() -> subprocess.Popen:
        command = [sys.executable, "-m", "src.exp.run_student_baseline"]
        command += arguments(tmp_path / "two", seven_users, *LONG, "trainer.devices=2")
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        started.append(subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True))
        while not list((tmp_path / "two").glob("models_dir/*/*.unfinished/last.ckpt")):
            assert started[-1].poll() is None, started[-1].communicate()
            time.sleep(0.1)
        return started[-1]

    yield start
    for each in started:
        each.kill()
        each.wait()


def process_of(parent: int, rank: int) -> int:
    """Returns the number of the process of this rank that `parent` has started."""
    for number in Path(f"/proc/{parent}/task/{parent}/children").read_text().split():
        if f"RANK={rank}" in Path(f"/proc/{number}/environ").read_text().split("\0"):
            return int(number)
    raise AssertionError("not there")


@pytest.mark.parametrize("rank", [0, 1])
def test_a_process_that_is_killed_ends_all_with_a_sentence(rank, launched):
    program = launched()
    other = process_of(program.pid, 1 - rank)
    os.kill(process_of(program.pid, rank), signal.SIGKILL)
    said = program.communicate(timeout=120)[1]
    assert program.returncode == 2
    assert "Traceback" not in said
    assert said.splitlines()[-1] == (
        f"error: Process {rank} of 2 was killed (SIGKILL), and all have ended: the same command goes on with what is "
        "there."
    )
    assert not Path(f"/proc/{other}").exists()


def test_what_is_asked_to_end_goes_on_as_one_process_to_the_same_result(launched, seven_users, tmp_path):
    program = launched()
    program.send_signal(signal.SIGTERM)
    said = program.communicate(timeout=120)[1]
    assert program.returncode == 128 + signal.SIGTERM
    assert "Traceback" not in said
    (step,) = re.findall(r"Kept at step (\d+) in", said)
    for folder in ("two", "undisturbed"):
        overrides = arguments(tmp_path / folder, seven_users, *LONG)
        assert command_together("src.exp.run_student_baseline", overrides, 1) == [0]
    assert "goes on from" in (tmp_path / "two" / "run" / "run.log").read_text()
    ((name, gone_on),), ((same, undisturbed),) = manifests(tmp_path / "two"), manifests(tmp_path / "undisturbed")
    assert name == same
    assert 0 < int(step) < gone_on["result"]["steps"]
    same_curves(gone_on, undisturbed, 1e-4)  # rounding, made larger by a hundred steps of Adam
