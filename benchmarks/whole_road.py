"""Seconds and memory of the whole road, stage by stage, as users, items and histories grow tenfold, and at a million of
both.

    python -m benchmarks.whole_road [--base USERS ITEMS LENGTH] [--whole USERS ITEMS LENGTH] [--evaluated N]

`run_all` over a synthetic log (`dataset.split=given`; validation and test examples are of `--evaluated` users), each in
a process of its own: SASRec, 64 wide, one epoch of sampled softmax with `student.train.sparse_items=true`, alone and
distilled; a teacher over the random two-layer encoder of the tests, which takes the time of no real language model, in
an ensemble with that student; its rankings of `--asked` training examples, over the whole catalogue. Items are drawn
with a long tail, near the one before in every second step. Memory is resident memory without mapped files, looked at
ten times a second. An exponent is of the power by which a stage's seconds grow between the base and ten times as many:
1 is linear, 0 does not grow.
"""

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl

from src.core.paths import ROOT

from .side_by_side import markdown, parser, report

GIB = 2**30
TIMES = 10
CHUNK = 100_000  # users whose histories are made at once


class Size(NamedTuple):
    """users, items: How many.
    length: Interactions of each user.
    """

    users: int
    items: int
    length: int

    def __str__(self) -> str:
        return f"{self.users:,} users, {self.items:,} items, {self.length} each"


def main(arguments: argparse.Namespace) -> None:
    if arguments.quick:
        arguments.base, arguments.whole, arguments.evaluated, arguments.asked = (40, 50, 6), None, 30, 20
    base = Size(*arguments.base)
    sizes = {"base": base}
    if not arguments.no_growth:
        sizes |= {f"{name} x {TIMES}": base._replace(**{name: TIMES * getattr(base, name)}) for name in Size._fields}
    if arguments.whole:
        sizes["whole"] = Size(*arguments.whole)
    measured = {}
    for name, size in sizes.items():
        measured[name] = road(size, arguments)
        print(f"{name}: {size}: {measured[name]}", file=sys.stderr, flush=True)
    report("whole_road", arguments, table(sizes, measured), measured=measured)
    if arguments.plot:
        plot(measured, arguments.plot)


def table(sizes: dict[str, Size], measured: dict[str, dict]) -> str:
    """Returns a line for each stage, with its seconds and GiB at each size."""
    stages = list(dict.fromkeys(stage for one in measured.values() for stage in one["seconds"]))
    rows = []
    for stage in [*stages, "all"]:
        row = [stage]
        for name, one in measured.items():
            seconds = sum(one["seconds"].values()) if stage == "all" else one["seconds"].get(stage, 0.0)
            memory = max(one["memory"].values()) if stage == "all" else one["memory"].get(stage, 0.0)
            cell = f"{seconds:,.0f} s, {memory / GIB:.2f}"
            if name not in ("base", "whole"):
                before = measured["base"]["seconds"]
                of_base = sum(before.values()) if stage == "all" else before.get(stage, 0.0)
                cell += f", {math.log(seconds / of_base, TIMES):.2f}" if min(seconds, of_base) > 0 else ""
            row.append(cell)
        rows.append(row)
    heads = [f"{name} ({size})" + (": seconds, GiB" if name in ("base", "whole") else ": seconds, GiB, exponent")
             for name, size in sizes.items()]  # fmt: skip
    return markdown(["stage", *heads], rows)


def plot(measured: dict[str, dict], folder: Path) -> None:
    """Draws, for each thing that grows, every stage's seconds at the base and at ten times as many, and a line of
    exponent 1, which none should be steeper than.
    """
    from matplotlib import pyplot as plt  # only those who want the plot need it

    plt.rcParams["svg.hashsalt"] = "whole_road"
    base = measured["base"]["seconds"]
    figure, all_axes = plt.subplots(1, 3, figsize=(11, 4), sharey=True, layout="constrained")
    for axes, grown in zip(all_axes, Size._fields, strict=True):
        for number, (stage, seconds) in enumerate(base.items()):
            later = measured[f"{grown} x {TIMES}"]["seconds"][stage]
            axes.plot([1, TIMES], [seconds, later], marker="o", color=plt.get_cmap("tab20")(number), label=stage)
        axes.plot([1, TIMES], [1, TIMES], ls=":", color="black", label="exponent 1")
        axes.set(xscale="log", yscale="log", title=grown, xlabel=f"times the base's {grown}")
        axes.set_xticks([1, TIMES], ["1", str(TIMES)])
        axes.set_xticks([], minor=True)
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    all_axes[0].set_ylabel("seconds")
    all_axes[0].yaxis.set_major_formatter("{x:,g}")
    figure.legend(*all_axes[0].get_legend_handles_labels(), loc="outside right center", frameon=False, fontsize=8)
    folder.mkdir(parents=True, exist_ok=True)
    figure.savefig(folder / "whole_road.svg", metadata={"Date": None})
    figure.savefig(folder / "whole_road.png", dpi=120)


def road(size: Size, arguments: argparse.Namespace) -> dict:
    """Returns `seconds` and `memory` (bytes) of each stage of a fresh process, and its `processor_seconds`."""
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        folder = Path(name)
        write_log(folder, size, min(arguments.evaluated, size.users))
        return in_a_process(folder, size, arguments)


def write_log(folder: Path, size: Size, evaluated: int) -> None:
    """Writes `log.parquet` and `items.csv`, a part of the users at a time."""
    random = np.random.default_rng(0)
    tables = []
    for first in range(0, size.users, CHUNK):
        users = min(CHUNK, size.users - first)
        shape = (users, size.length)
        drawn = (size.items * random.random(shape) ** 2).astype(np.int64)
        near = (drawn[:, :1] + random.integers(0, 20, shape)) % size.items
        item = np.where(random.random(shape) < 0.5, near, drawn)
        number = np.arange(first * size.length, (first + users) * size.length).reshape(shape)
        item = np.where(number < size.items, number, item)  # the first histories hold every item once
        part = np.full(shape, "train", dtype="<U5")
        held_out = np.arange(first, first + users) < evaluated
        part[held_out, -1], part[held_out, -2] = "test", "val"
        columns = {"user": np.repeat(np.arange(first, first + users), size.length), "item": item.ravel()}
        columns |= {"timestamp": np.tile(np.arange(size.length), users), "part": part.ravel()}
        tables.append(pl.DataFrame(columns))
    rows = pl.concat(tables)
    rows.write_parquet(folder / "log.parquet")
    number = np.arange(size.items)
    title = "Thing " + pl.Series(number % 977).cast(pl.String) + " of kind " + pl.Series(number % 31).cast(pl.String)
    pl.DataFrame({"item": number, "title": title + " no. " + pl.Series(number).cast(pl.String)}).write_csv(
        folder / "items.csv"
    )


def in_a_process(folder: Path, size: Size, arguments: argparse.Namespace) -> dict:
    """Runs the road over the log in `folder`; see `road`."""
    length = min(50, size.length)
    students = [
        f"{of}.{key}"
        for of in ("student", "teacher.user_encoder")
        for key in (
            f"model.history_length={length}",
            "model.hidden_size=64",
            "train.sparse_items=true",
            "train.max_epochs=1",
            "train.batch_targets=4096",
        )
    ]
    command = [
        *(sys.executable, "-m", "src.exp.run_all", "dataset=custom", "dataset.name=synthetic", "dataset.split=given"),
        *(f"dataset.interactions={folder}/log.parquet", f"dataset.items={folder}/items.csv"),
        *("student/loss=sampled_softmax", "student/loss@teacher.user_encoder.loss=sampled_softmax", *students),
        *("teacher.user_encoder.text_init=0", "distill.text_init=0", "student.text_init=0"),
        *("teacher/llm=tiny_random", "teacher.prompt.items=5", "teacher.prompt.title_tokens=16"),
        *(
            f"teacher.train.max_examples={arguments.asked}",
            "teacher.train.max_epochs=1",
            "teacher.train.max_val_examples=100",
        ),
        *("active=random", f"active.share={min(1.0, arguments.asked / (size.users * (size.length - 1)))}"),
        *("distill.rd.weight=0.5", "student_seeds=1", f"paths.root={folder}", f"hydra.run.dir={folder}/run"),
    ]
    threads = {"OMP_NUM_THREADS": str(arguments.threads)}
    process = subprocess.Popen(command, cwd=ROOT, env=os.environ | threads, stdout=subprocess.DEVNULL, text=True)
    memory = Memory(process.pid, folder / "run/run.log")
    memory.start()
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    memory.over = True
    memory.join()
    if process.returncode:
        raise SystemExit(f"run_all ended with status {process.returncode}")
    seconds = json.loads((folder / "run/metrics/time.json").read_text())["seconds"]
    return {"seconds": seconds, "memory": memory.peak, "processor_seconds": round(used.ru_utime + used.ru_stime, 1)}


class Memory(threading.Thread):
    """Looks at a process's own memory, without mapped files, and at which stage its log says that it is.

    peak: The most of each stage, in bytes.
    """

    def __init__(self, pid: int, run_log: Path) -> None:
        super().__init__(daemon=True)
        self.status, self.run_log = Path(f"/proc/{pid}/status"), run_log
        self.peak: dict[str, int] = defaultdict(int)
        self.stage, self.read, self.over = "start", 0, False

    def run(self) -> None:
        while not self.over:
            self._follow_log()
            try:
                lines = dict(line.split(":", 1) for line in self.status.read_text().splitlines())
                now = sum(int(lines[name].split()[0]) * 1024 for name in ("RssAnon", "RssShmem"))
            except (OSError, KeyError):  # it has ended
                return
            self.peak[self.stage] = max(self.peak[self.stage], now)
            time.sleep(0.1)

    def _follow_log(self) -> None:
        if not self.run_log.is_file():
            return
        with self.run_log.open(encoding="utf-8") as file:
            file.seek(self.read)
            for line in file:
                if "── " in line:
                    self.stage = line.partition("── ")[2].strip()
            self.read = file.tell()


if __name__ == "__main__":
    own = parser(__doc__, repeats=1)
    size = {"nargs": 3, "type": int, "metavar": Size._fields}
    own.add_argument("--base", default=(30_000, 30_000, 10), help="the smallest log", **size)
    own.add_argument("--whole", default=(1_000_000, 1_000_000, 10), help="the largest", **size)
    own.add_argument("--no-growth", action="store_true", help="base and whole alone")
    own.add_argument("--evaluated", type=int, default=2_000, help="users with validation and test examples")
    own.add_argument(
        "--asked", type=int, default=5_000, help="examples that the teacher learns from, and is asked about"
    )
    own.add_argument(
        "--folder", type=Path, help="where logs and artefacts are while it runs (10 GB); default: temporary"
    )
    own.add_argument("--plot", type=Path, help="folder for whole_road.svg; needs matplotlib, and the growth")
    main(own.parse_args())
