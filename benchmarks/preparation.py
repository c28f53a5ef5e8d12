"""Time and peak memory of `prepare` by the number of rows, on synthetic logs of one's own or in MovieLens-1M's layout.

    python -m benchmarks.preparation [--rows 1000000 10000000 100000000] [--layouts csv parquet] [--folder DIR]

A log is made a million rows at a time, in random order (the hardest for sorting), with long-tailed users and items: a
user for 40 rows, 50 items for each root of their number. The stage (5-core, leave-one-out) runs in a process of its
own, whose peak of resident memory is told. The exponents are of the straight line through the measured points on
logarithmic scales, and say what a thousand million rows would take. 100 million rows need 10 GB of disk.
"""

import argparse
import json
import math
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl

from src.core.artefact import read_manifest
from src.data.prepare import make_dataset
from src.data.raw.log import find_raw_log
from src.data.settings import DatasetSettings, RawFile

CHUNK, FARTHER = 1_000_000, 1_000_000_000
LOG = {"csv": "log.csv", "parquet": "log.parquet", "ml-1m": "ml-1m/ratings.dat"}
COLUMNS = ("user", "item", "rating", "timestamp")


def settings_of(layout: str, folder: Path) -> DatasetSettings:
    """What reads the log of a layout in `folder`; a table's without titles."""
    own = {"reader": "table", "files": [], "interactions": folder / LOG[layout]}
    movielens = {"reader": "movielens_1m", "files": [RawFile(name="ratings.dat"), RawFile(name="movies.dat")]}
    least = {"min_user_interactions": 5, "min_item_interactions": 5}
    return DatasetSettings(name="synthetic", raw_dir="ml-1m", **least, **(movielens if layout == "ml-1m" else own))


def write_log(folder: Path, rows: int, layout: str) -> None:
    """Writes a log a million rows at a time: this process stays small."""
    path, random = folder / LOG[layout], np.random.default_rng(0)
    num_users, num_items = max(1, rows // 40), int(50 * rows**0.5)
    path.parent.mkdir(parents=True, exist_ok=True)
    text = path.with_suffix(".csv") if layout == "parquet" else path
    with text.open("wb") as file:
        for start in range(0, rows, CHUNK):
            size = min(CHUNK, rows - start)
            chunk = pl.DataFrame(
                {
                    "user": (num_users * random.random(size) ** 2).astype(np.int32) + 1,
                    "item": (num_items * random.random(size) ** 3).astype(np.int32) + 1,
                    "rating": random.integers(1, 6, size),
                    "timestamp": random.integers(800_000_000, 1_400_000_000, size),
                }
            )
            if layout == "ml-1m":  # polars separates by one byte: `::` is an empty column between two
                empty = (pl.lit("").alias(f"before {name}") for name in COLUMNS[1:])
                chunk = chunk.with_columns(*empty).select(
                    "user", *(each for name in COLUMNS[1:] for each in (f"before {name}", name))
                )
                chunk.write_csv(file, include_header=False, separator=":", quote_style="never")
            else:
                chunk.write_csv(file, include_header=start == 0)
    if layout == "parquet":
        pl.scan_csv(text).sink_parquet(path)
        text.unlink()
    if layout == "ml-1m":
        movies = (f"{item}::Movie {item} (2000)::Drama|Comedy\n" for item in range(1, num_items + 1))
        (path.parent / "movies.dat").write_text("".join(movies), encoding="latin-1")


def measure(folder: Path, layout: str) -> None:
    """Runs the stage on the log in `folder`; prints its seconds and processor seconds, without those of importing, its
    peak memory and what it keeps.
    """
    start, busy, settings = time.perf_counter(), time.process_time(), settings_of(layout, folder)
    make_dataset(settings, find_raw_log(settings, [folder]), folder / "dataset")
    seconds, busy = time.perf_counter() - start, time.process_time() - busy
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # KiB on Linux
    print(json.dumps([seconds, busy, peak, read_manifest(folder / "dataset")["counts"]["interactions"]]))


def measured(rows: int, layout: str, folder: Path | None) -> list[float]:
    """Returns seconds, processor seconds, GiB and interactions kept of a log."""
    with tempfile.TemporaryDirectory(dir=folder) as name:
        write_log(Path(name), rows, layout)
        command = [sys.executable, "-m", "benchmarks.preparation", "--measure", name, layout]
        return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def power(sizes: list[int], costs: list[float]) -> tuple[float, float]:
    """Returns the exponent of the power that fits, and what it says of `FARTHER` rows."""
    slope, height = np.polyfit(np.log(sizes), np.log(costs), 1)
    return float(slope), math.exp(height + slope * math.log(FARTHER))


def main(arguments: argparse.Namespace) -> None:
    print("| layout | rows | interactions kept | seconds | of a processor | peak memory, GiB |")
    print("|---|---:|---:|---:|---:|---:|", flush=True)
    for layout in arguments.layouts:
        costs = []
        for rows in arguments.rows:
            *cost, kept = measured(rows, layout, arguments.folder)
            costs.append(cost)
            seconds, busy, peak = cost
            print(f"| {layout} | {rows:,} | {kept:,} | {seconds:.0f} | {busy:.0f} | {peak:.2f} |", flush=True)
        if len(costs) > 1:
            fits = [power(arguments.rows, list(cost)) for cost in zip(*costs, strict=True)]
            exponents = " | ".join(f"{exponent:.2f}" for exponent, _ in fits)
            print(f"| {layout} | exponent | | {exponents} |")
            print(
                f"| {layout} | {FARTHER:,}, computed | | {' | '.join(f'{far:,.0f}' for _, far in fits)} |", flush=True
            )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        measure(Path(sys.argv[2]), sys.argv[3])
    else:
        parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
        parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000, 10_000_000, 100_000_000])
        parser.add_argument("--layouts", nargs="+", choices=LOG, default=["csv", "parquet"])
        parser.add_argument("--folder", type=Path, help="where the logs are made; the system's for temporary files")
        main(parser.parse_args())
