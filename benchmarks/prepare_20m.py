"""Time and peak memory of `prepare` on 20 million synthetic interactions, in MovieLens-1M's layout or as a CSV.

    python -m benchmarks.prepare_20m [rows [csv]]

The log is made in a temporary folder in random order (the hardest for sorting), with long-tailed users and items; it
takes about 1.5 GB of disk with the artefact. The stage runs in a process of its own, whose peak memory is told.
"""

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl

from src.data.prepare import prepare_dataset
from src.data.settings import DatasetSettings, RawFile

NUM_USERS, NUM_ITEMS = 140_000, 27_000  # of the size of MovieLens-20M
CHUNK = 1_000_000


def settings_of(layout: str, folder: Path) -> DatasetSettings:
    """What reads the log of a layout ("ml-1m", "csv"; the CSV without titles) in `folder`."""
    own = {"reader": "table", "files": [], "interactions": folder / "ratings.csv"}
    movielens = {"reader": "movielens_1m", "files": [RawFile(name="ratings.dat"), RawFile(name="movies.dat")]}
    return DatasetSettings(
        name="synthetic",
        raw_dir="ml-1m",
        min_user_interactions=5,
        min_item_interactions=5,
        **(own if layout == "csv" else movielens),
    )


def write_raw_files(folder: Path, rows: int, layout: str) -> None:
    """Writes `ratings.dat` and `movies.dat`, or `ratings.csv`, a million rows at a time: this process stays small."""
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    with (folder / ("ratings.csv" if layout == "csv" else "ratings.dat")).open("wb") as file:
        for start in range(0, rows, CHUNK):
            size = min(CHUNK, rows - start)
            empty = pl.lit("")
            chunk = pl.DataFrame(
                {
                    "user": (NUM_USERS * random.random(size) ** 2).astype(np.int32) + 1,
                    "item": (NUM_ITEMS * random.random(size) ** 3).astype(np.int32) + 1,
                    "rating": random.integers(1, 6, size),
                    "timestamp": random.integers(800_000_000, 1_400_000_000, size),
                }
            )
            if layout == "csv":
                chunk.write_csv(file, include_header=start == 0)
                continue
            chunk = chunk.select(
                "user", empty.alias("_1"), "item", empty.alias("_2"), "rating", empty.alias("_3"), "timestamp"
            )
            chunk.write_csv(file, include_header=False, separator=":", quote_style="never")
    movies = (f"{item}::Movie {item} (2000)::Drama|Comedy\n" for item in range(1, NUM_ITEMS + 1))
    (folder / "movies.dat").write_text("".join(movies), encoding="latin-1")


def measure(folder: Path, layout: str) -> None:
    """Runs the stage on the raw files in `folder` and prints its seconds, without those of importing."""
    start = time.perf_counter()
    dataset = prepare_dataset(settings_of(layout, folder / "ml-1m"), [folder], folder / "processed")
    print(f"{time.perf_counter() - start:.1f} | {len(dataset.item_log)}")


def main(rows: int, layout: str) -> None:
    with tempfile.TemporaryDirectory() as name:
        write_raw_files(Path(name) / "ml-1m", rows, layout)
        command = [sys.executable, "-m", "benchmarks.prepare_20m", "--measure", name, layout]
        seconds, kept = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split("|")
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20  # KiB on Linux
    print("| rows of the raw log | interactions kept | seconds | peak memory, GiB |\n|---:|---:|---:|---:|")
    print(f"| {rows:,} | {int(kept):,} | {seconds.strip()} | {peak:.2f} |")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        measure(Path(sys.argv[2]), sys.argv[3])
    else:
        main(int(sys.argv[1]) if sys.argv[1:] else 20_000_000, sys.argv[2] if sys.argv[2:] else "ml-1m")
