"""Training steps per second over 1, 2, … processes of this machine, which share the same batches.

    python -m benchmarks.devices [--processes 1 2] [overrides …]

Trains the shipped SASRec on MovieLens-100K by `run_student_baseline trainer.devices=…`, anew each time and in turn. The
clock is the learning curve's: from the end of the first epoch to the end of the last, validations included. All threads
are shared out: two processes have half of them each.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from src.core.artefact import read_manifest
from src.core.paths import ROOT

from .ours import FEW_ROWS
from .side_by_side import THREADS, markdown, parser, report

FOLDERS = ("processed", "models", "evaluations")


def main(arguments: argparse.Namespace) -> None:
    overrides = ["dataset=ml_100k", "student_seeds=1", f"student.train.max_epochs={arguments.epochs}"]
    overrides += ["student.train.patience=1000", *arguments.overrides]
    if arguments.quick:
        overrides += FEW_ROWS
        arguments.repeats = 1
    measured: dict[int, list[float]] = {processes: [] for processes in arguments.processes}
    for _ in range(arguments.repeats):
        for processes, rates in measured.items():
            rates.append(steps_per_second(processes, max(1, arguments.threads // processes), overrides))
            print(json.dumps({"processes": processes, "steps_per_second": rates[-1]}), file=sys.stderr, flush=True)
    alone = median(measured[arguments.processes[0]])
    rows = [
        [processes, max(1, arguments.threads // processes), f"{median(rates):.1f}", f"{median(rates) / alone:.2f}"]
        for processes, rates in measured.items()
    ]
    heads = ["processes", "threads each", "steps/s", f"of {arguments.processes[0]}"]
    report("devices", arguments, markdown(heads, rows), steps_per_second=measured)


def steps_per_second(processes: int, threads: int, overrides: list[str]) -> float:
    """Trains in processes of its own; returns the optimiser steps per second behind the first epoch."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        places = [f"paths.{each}_dir={folder / each}" for each in FOLDERS]
        command = [sys.executable, "-m", "src.exp.run_student_baseline", *places, f"hydra.run.dir={folder / 'run'}"]
        environment = {**os.environ, **dict.fromkeys(THREADS, str(threads))}
        command += [*overrides, f"trainer.devices={processes}"]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(done.stderr[-4000:])
        (manifest,) = folder.glob("models/*/baseline-*/manifest.json")
        first, *_, last = read_manifest(manifest.parent)["result"]["curve"]
    return (last["step"] - first["step"]) / (last["seconds"] - first["seconds"])


if __name__ == "__main__":
    own = parser(__doc__, repeats=3)
    own.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    own.add_argument("--epochs", type=int, default=4)
    own.add_argument("overrides", nargs="*", help="Hydra's, e.g. student=gru4rec")
    main(own.parse_args())
