"""Whether a process that trains and evaluates again and again stays as large as it was.

    python -m benchmarks.long_run [--of road] [--plot docs/images]

200 cycles in one process on a small synthetic log, through the package as Python callers use it: a student is trained
with a seed of its own, loaded and evaluated. `--of road` goes the whole road in each cycle: student, teacher over the
random language model, its export, distilled student and evaluations. After each cycle: resident memory, open files,
threads, Python objects, hooks that wait for the end of the process. Linux only (/proc).
"""

import argparse
import atexit
import gc
import os
import shutil
import sys
import tempfile
import threading
import time
import warnings
from pathlib import Path

import numpy as np

from src.api import evaluate, load_student
from src.exp.stages.evaluations import every
from src.exp.stages.road import Road

from .ours import run_of
from .side_by_side import markdown, parser, report

NUM_USERS, NUM_ITEMS, INTERACTIONS = 200, 60, 12
SHOWN = (1, 10, 50, 100, 200)
MIB = 2**20
SMALL = [
    "dataset=movielens",
    "teacher/llm=tiny_random",
    "student.model.hidden_size=16",
    "student.model.history_length=10",
    "student.train.max_epochs=2",
    "teacher.user_encoder.model.hidden_size=16",
    "teacher.user_encoder.model.history_length=10",
    "teacher.user_encoder.train.max_epochs=2",
    "teacher.train.max_epochs=1",
    "teacher.train.max_examples=64",
    "teacher.train.validations_per_epoch=1",
    "teacher.train.precision=32-true",
    "teacher.export.k=4",
    "distill.candidate_topk=3",
    "active=random",
    "active.share=0.1",
    "metrics.ks=[1,10]",
]


def write_log(folder: Path) -> None:
    """Writes `ratings.dat` and `movies.dat` in MovieLens-1M's layout."""
    folder.mkdir(parents=True)
    items = np.random.default_rng(0).integers(1, NUM_ITEMS + 1, (NUM_USERS, INTERACTIONS))
    rows = [f"{user + 1}::{item}::5::{time}" for user, log in enumerate(items) for time, item in enumerate(log)]
    (folder / "ratings.dat").write_text("\n".join(rows) + "\n", encoding="latin-1")
    films = [f"{item}::Film {item} (2000)::Drama" for item in range(1, NUM_ITEMS + 1)]
    (folder / "movies.dat").write_text("\n".join(films) + "\n", encoding="latin-1")


def cycle(seed: int, whole_road: bool, folder: Path) -> None:
    """Trains with a seed of its own and evaluates, with all files below `folder`."""
    names = ("processed_dir", "models_dir", "teacher_outputs_dir", "evaluations_dir")
    places = [f"paths.{name}={folder / str(seed) / name}" for name in names]
    road = Road(run_of([*SMALL, *places, f"paths.raw_dirs=[{folder / 'raw'}]", f"seed={seed}"], folder / str(seed)))
    if whole_road:
        trained = road.evaluations("popularity", "baseline", "teacher", "distilled")
        road.go(road.prepared, road.baseline, road.teacher, road.outputs, road.distilled, *every(trained))
    else:
        road.go(road.prepared, road.baseline)
    evaluate(load_student(road.baseline.folder, road.prepared.dataset), road.prepared.dataset, ks=[10])
    shutil.rmtree(folder / str(seed))


def state() -> dict[str, int]:
    """Returns what the process holds."""
    resident = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return {
        "resident": resident,
        "files": len(os.listdir("/proc/self/fd")),
        "threads": len(os.listdir("/proc/self/task")),
        "python_threads": threading.active_count(),
        "objects": len(gc.get_objects()),
        "hooks": atexit._ncallbacks(),
        "warning_filters": len(warnings.filters),
        "modules": len(sys.modules),
    }


def main(arguments: argparse.Namespace) -> None:
    if arguments.quick:
        arguments.cycles = 3
    states = []
    with tempfile.TemporaryDirectory() as name:
        write_log(Path(name) / "raw" / "ml-1m")
        for seed in range(arguments.cycles):
            start = time.perf_counter()
            (Path(name) / str(seed)).mkdir()
            cycle(seed, arguments.of == "road", Path(name))
            states.append({**state(), "seconds": time.perf_counter() - start})
    heads = ["after cycle", "resident, MiB", "open files", "threads", "Python objects", "exit hooks", "seconds"]
    rows = [[number, *figures(states[number - 1])] for number in SHOWN if number <= len(states)]
    report(f"long_run_{arguments.of}", arguments, markdown(heads, rows), states=states)
    if arguments.plot:
        plot(states, arguments.plot / f"long_run_{arguments.of}.svg")


def figures(state: dict[str, float]) -> list[str]:
    counts = [f"{state[name]:,}" for name in ("files", "threads", "objects", "hooks")]
    return [f"{state['resident'] / MIB:,.0f}", *counts, f"{state['seconds']:.1f}"]


def plot(states: list[dict[str, float]], path: Path) -> None:
    from matplotlib import pyplot as plt  # only those who want the plot need it

    plt.rcParams["svg.hashsalt"] = "long_run"
    figure, (memory, counts) = plt.subplots(1, 2, figsize=(8.5, 3.2), layout="constrained")
    cycles = range(1, len(states) + 1)
    memory.plot(cycles, [each["resident"] / MIB for each in states], color="#1f6f8b")
    memory.set(xlabel="cycles", ylabel="resident memory, MiB", ylim=(0, None))
    for name, colour in (("files", "#b5533c"), ("threads", "#1f6f8b")):
        counts.plot(
            cycles, [each[name] for each in states], color=colour, label={"files": "open files"}.get(name, name)
        )
    counts.set(xlabel="cycles", ylim=(0, None))
    counts.legend(frameon=False, fontsize=8)
    for axes in (memory, counts):
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    own = parser(__doc__, repeats=1)
    own.add_argument("--cycles", type=int, default=200)
    own.add_argument("--of", choices=["student", "road"], default="student", help="what a cycle makes")
    own.add_argument("--plot", type=Path, help="folder for long_run_<of>.svg; needs matplotlib")
    main(own.parse_args())
