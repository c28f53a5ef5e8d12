"""Runs of the program small enough for tests: composed configs, and whole starts in a folder of their own."""

import os
import subprocess
import sys
from pathlib import Path

from src.core.artefact import DATASET, writing
from src.core.logging import Stopwatch
from src.core.paths import ROOT
from src.data.dataset import Dataset
from src.data.raw.log import RawLog
from src.exp.program.config import compose_settings
from src.exp.program.run import Run
from src.exp.stages.road import Road
from tests.worlds import tiny_logs, tiny_titles, write_raw_log

SMALL = [
    "teacher.train.max_examples=-1",
    "dataset=movielens",
    "teacher/llm=tiny_random",
    "student.model.hidden_size=8",
    "student.model.history_length=8",
    "student.train.max_epochs=2",
    "teacher.user_encoder.model.hidden_size=8",
    "teacher.user_encoder.model.history_length=8",
    "teacher.user_encoder.train.max_epochs=2",
    "teacher.train.max_epochs=1",
    "teacher.train.validations_per_epoch=1",
    "teacher.train.precision=32-true",
    "teacher.export.k=4",
    "distill.candidate_topk=3",
    "active=random",
    "teacher.user_encoder.text_init=0.0",
    "active.share=0.5",
    "metrics.ks=[1,5]",
    "student_seeds=1",
    "controls=false",
]


def place(folder: Path) -> list[str]:
    """Overrides that keep everything a run writes in `folder`."""
    names = ("processed", "models", "teacher_outputs", "evaluations", "served", "updates", "language_models")
    return [f"paths.{name}_dir={folder / f'{name}_dir'}" for name in names]


def run_in(folder: Path, *overrides: str) -> Run:
    """Returns a small run with `folder` for everything."""
    folder.mkdir(parents=True, exist_ok=True)
    return Run(compose_settings(*SMALL, *place(folder), *overrides), folder, Stopwatch(folder))


def road_in(folder: Path, dataset: Dataset, *overrides: str) -> Road:
    """Returns the stages of a small run over a dataset in memory, as if it lay prepared in `folder`."""
    road = Road(run_in(folder, f"dataset.name={dataset.name}", *overrides))
    prepared = road.prepared
    prepared.raw = RawLog([], {}, dataset.fingerprint)
    prepared.dataset = dataset
    sizes = {"users": dataset.num_users, "items": dataset.num_items, "interactions": len(dataset.item_log)}
    prepared.counts = sizes | {f"{split}_examples": len(examples) for split, examples in dataset.examples.items()}
    with writing(prepared.folder, DATASET, {"counts": prepared.counts}):
        pass
    return road


def raw_log(data_dir: Path, seed: int = 0) -> Path:
    """Writes the tiny world as a raw log in MovieLens-1M's layout; returns what ANYO_DATA_DIR must be."""
    write_raw_log(tiny_logs(seed=seed), tiny_titles(), data_dir)
    return data_dir


def start_program(command: str, data_dir: Path, folder: Path, run_dir: Path, *overrides: str):
    """Starts `python -m src.exp.<command>` as a person would, with all it writes in `folder` and `run_dir`."""
    arguments = [*SMALL, *place(folder), f"hydra.run.dir={run_dir}", *overrides]
    environment = {**os.environ, "ANYO_DATA_DIR": str(data_dir), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-m", f"src.exp.{command}", *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
