"""Kills real processes at random moments, again and again, and starts the same thing anew until it is done: does it end
in the same bytes as if nothing had happened?

    python -m tests.exp.kills --kills 100

Every stage of a tiny road is made once without a kill. Then it is made in child processes that are killed: most by
SIGKILL, every fourth asked to end by SIGTERM; after some kills the newest checkpoint or part is cut short or has a byte
flipped, as a disk may do when the power fails. Prints, for each stage, what was done to it and how it ended.
"""

import argparse
import json
import random
import shutil
import signal
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from src.core.artefact import digest, unfinished
from src.exp.stages.base import Stage
from src.exp.stages.road import Road
from src.teacher.exporting import units
from src.training import checkpoints
from tests.exp.roads import raw_log, run_in
from tests.processes import child

ROAD = (
    "prepared", "encodings", "baseline", "teacher", "calibration", "outputs", "students_alone", "self_outputs",
    "distilled",
)  # fmt: skip
STAGES = tuple(stage for stage in ROAD if stage not in ("calibration", "students_alone"))  # made in no time
LONGER = [
    "student.train.max_epochs=6",
    "teacher.user_encoder.train.max_epochs=6",
    "teacher.train.max_epochs=3",
    "active.share=1.0",
    "teacher.export.lost_after=0.5",  # a damaged claim is nobody's that can be asked
]


@dataclass
class Survived:
    """What was done to one stage.

    killed, asked_to_end: Children that were alive when the signal came.
    damaged: Files that were cut short or had a byte flipped after a kill.
    finished: Times that the artefact was made all the same.
    differing: Of these, not in the bytes that an undisturbed process writes.
    wrong_status: Children that ended with another status than was asked for.
    left_behind: Names of temporary files and folders that were there after the end.
    """

    stage: str
    killed: int = 0
    asked_to_end: int = 0
    damaged: int = 0
    finished: int = 0
    differing: int = 0
    wrong_status: int = 0
    left_behind: int = 0


def survive(stage: str, kills: int, folder: Path, draw: random.Random) -> Survived:
    """Makes a stage over and over, until so many children of it were killed and the last round has come to its end.

    Args:
        stage: Of `Road`.
        kills: At least so many.
        folder: Empty; for everything that is written.
        draw: When and what.
    """
    data_dir = raw_log(folder / "raw")
    run = run_in(folder / "made", f"paths.raw_dirs=[{data_dir}]", *LONGER)
    before = Road(run)
    for name in ROAD[: ROAD.index(stage)]:
        assert child(lambda name=name: getattr(Road(run), name).ensure())(None) == 0, name
    target: Stage = getattr(before, stage)
    start = time.monotonic()
    assert child(getattr(Road(run), stage).ensure)(None) == 0
    undisturbed, expected = time.monotonic() - start, digest(target.folder)
    shutil.rmtree(target.folder)
    found = Survived(stage)
    while True:
        enough = found.killed + found.asked_to_end >= kills
        number = None if enough else signal.SIGTERM if draw.random() < 0.25 else signal.SIGKILL
        end = child(getattr(Road(run), stage).ensure)
        if number is not None:
            time.sleep(draw.uniform(0, undisturbed))
        status = end(number)
        if status == 0:
            found.finished += 1
            found.differing += digest(target.folder) != expected
            left_behind = _left_behind(target.folder)
            found.left_behind += len(left_behind)
            if left_behind:
                print(f"{stage}: left behind: {', '.join(left_behind)}", file=sys.stderr)
            shutil.rmtree(target.folder)
            if enough:
                return found
        elif number == signal.SIGTERM:
            found.asked_to_end += 1
            # the second one: before the child could say what is to be done then
            found.wrong_status += _is_wrong(stage, status, 128 + signal.SIGTERM, -signal.SIGTERM)
        else:
            found.killed += 1
            found.wrong_status += _is_wrong(stage, status, -signal.SIGKILL)
            found.damaged += draw.random() < 0.3 and _damage(unfinished(target.folder), draw)


def _is_wrong(stage: str, status: int, *expected: int) -> bool:
    if status not in expected:
        print(f"{stage}: status {status} instead of {expected}", file=sys.stderr)
    return status not in expected


def _left_behind(folder: Path) -> list[str]:
    """Returns what stands beside an artefact although it is done, but for its lock and who held it last."""
    beside = {path.name for path in folder.parent.iterdir() if folder.name in path.name}
    return sorted(beside - {folder.name, f".{folder.name}.lock", f".{folder.name}.owner"})


def _damage(folder: Path, draw: random.Random) -> bool:
    """Cuts the newest file short or flips a byte of it; returns whether there was one, not empty."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.stat().st_size]
    files.sort(key=lambda path: path.stat().st_mtime_ns)
    if not files:
        return False
    content = bytearray(files[-1].read_bytes())
    place = draw.randrange(len(content))
    if draw.random() < 0.5:
        content = content[:place]
    else:
        content[place] ^= 0xFF
    files[-1].write_bytes(content)
    return True


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=100, help="of each stage")
    parser.add_argument("--seed", type=int, default=0, help="of when and what")
    arguments = parser.parse_args()
    # a checkpoint after nearly every step, parts of a few examples: more states to be killed in
    checkpoints.KEEP_EVERY, units.PART = 0.02, 8
    for stage in STAGES:
        with tempfile.TemporaryDirectory() as folder:
            draw = random.Random(f"{arguments.seed} {stage}")
            print(json.dumps(asdict(survive(stage, arguments.kills, Path(folder), draw))), flush=True)


if __name__ == "__main__":
    main()
