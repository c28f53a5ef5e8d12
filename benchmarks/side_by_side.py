"""Peers and ours side by side: processes that measure in turn, medians, a table, and a JSON file with the rest."""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory, TemporaryFile
from typing import Any

from src.core.artefact import write_json
from src.core.git_info import environment
from src.core.paths import ROOT

RESULTS = ROOT / "benchmarks" / "results"
WORKERS = ROOT / "benchmarks" / "workers"
QUICK_RESULTS = ROOT / "result" / "benchmarks_quick"
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "POLARS_MAX_THREADS")


class Worker:
    """A process of its own that gets everything ready and then measures each time it is asked.

    Args:
        module: A module of `benchmarks.workers`.
        settings: What the module reads, JSON values.
        threads: How many threads it computes with.
        folder: Its working directory, for what its libraries may write.
        python: The interpreter of its environment; ours by default.
        tree: Whose code it measures: this project's, or another checkout's, to which the module need not be known.
    """

    def __init__(
        self,
        module: str,
        settings: dict[str, Any],
        threads: int,
        folder: Path,
        python: Path | str = sys.executable,
        tree: Path = ROOT,
    ) -> None:
        named = ["-m", f"benchmarks.workers.{module}"] if tree == ROOT else [f"{WORKERS / module}.py"]
        self.command = [python, *named, json.dumps(settings)]
        self.folder = folder
        self.environment = {**os.environ, "PYTHONPATH": str(tree), **dict.fromkeys(THREADS, str(threads))}

    def __enter__(self) -> "Worker":
        """Starts it and waits until it is ready; what it then tells of itself is `facts`."""
        self.said = TemporaryFile("w+")
        self.process = subprocess.Popen(
            self.command,
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.said,
            text=True,
        )
        self.facts = self._answer()
        return self

    def __exit__(self, *_: object) -> None:
        self.process.stdin.close()
        self.process.wait()
        self.said.close()

    def measure(self) -> dict[str, Any]:
        """Returns one measurement."""
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        line = self.process.stdout.readline()
        if not line:
            self.said.seek(0)
            raise RuntimeError(f"{' '.join(map(str, self.command))} ended early:\n{self.said.read()[-4000:]}")
        return json.loads(line)


def in_turn(workers: dict[str, Worker], repeats: int) -> tuple[dict[str, Any], dict[str, list[dict[str, Any]]]]:
    """Gets the workers ready one after the other, then lets them measure in turn: A, B, …, A, B, …

    Returns:
        The facts and the measurements of each, by its name.
    """
    measured = {name: [] for name in workers}
    with ExitStack() as ready:
        for worker in workers.values():
            ready.enter_context(worker)
        for _ in range(repeats):
            for name, worker in workers.items():
                measured[name].append(worker.measure())
    return {name: worker.facts for name, worker in workers.items()}, measured


def several_afresh(
    module: str, settings: dict[str, Any], threads: int, repeats: int
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Returns the facts and some measurements of a process of its own."""
    with TemporaryDirectory() as folder:
        facts, measured = in_turn({module: Worker(module, settings, threads, Path(folder))}, repeats)
    return facts[module], measured[module]


def measured_afresh(module: str, settings: dict[str, Any], threads: int) -> dict[str, Any]:
    """Returns one measurement of a process of its own: memory that earlier ones used tells nothing of the next."""
    return several_afresh(module, settings, threads, 1)[1][0]


def median_of(measurements: Iterable[dict[str, Any]], key: str) -> float:
    return median(measurement[key] for measurement in measurements)


def median_rate(measurements: Iterable[dict[str, Any]]) -> float:
    """Returns examples per second."""
    return median(measurement["examples"] / measurement["seconds"] for measurement in measurements)


def parser(description: str, repeats: int = 5) -> argparse.ArgumentParser:
    """Returns a parser with what all scripts understand."""
    own = argparse.ArgumentParser(description=description.partition("\n")[0])
    own.add_argument("--repeats", type=int, default=repeats, help="measurements of each; the table shows medians")
    own.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="for everyone the same")
    own.add_argument("--quick", action="store_true", help="only shows that it works: the figures mean nothing")
    own.add_argument("--out", type=Path, help=f"folder of the JSON file; default {RESULTS.relative_to(ROOT)}")
    return own


def with_peers(own: argparse.ArgumentParser) -> argparse.ArgumentParser:
    own.add_argument("--envs", type=Path, required=True, help="folder for the peers' environments, not in the project")
    return own


def markdown(heads: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Returns a Markdown table: first column to the left, the others to the right."""
    lines = [heads, [":--", *["--:"] * (len(heads) - 1)], *rows]
    return "\n".join(f"| {' | '.join(str(cell) for cell in line)} |" for line in lines)


def report(name: str, arguments: argparse.Namespace, table: str, **measured: Any) -> None:
    """Prints the table and writes `<out>/<name>.json` with the machine, the settings and every measurement."""
    folder = arguments.out or (QUICK_RESULTS if arguments.quick else RESULTS)
    folder.mkdir(parents=True, exist_ok=True)
    settings = {key: value for key, value in vars(arguments).items() if not isinstance(value, Path)}
    write_json(folder / f"{name}.json", {"settings": settings, **measured, "table": table, **environment()})
    print(table)
