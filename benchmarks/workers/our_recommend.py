"""`run_recommend` of a served model: all users of its log to a Parquet file, again each time a line arrives.

Settings: `model` (its folder), `chunk`.
"""

import os
from pathlib import Path

import polars as pl

from src.serve.batch import recommend_to_file
from src.serve.recommender import Recommender

from ..timing import Clock, Line, reset_peak, status

K = 10


def main() -> None:
    line = Line()
    recommender = Recommender.load(line.settings["model"], int(os.environ["OMP_NUM_THREADS"]))
    users, output = recommender.files.raw_user_ids, Path("top.parquet").absolute()

    def measure(some: list[str]) -> dict[str, float]:
        before, clock = reset_peak(), Clock()
        recommend_to_file(recommender, some, output, K, chunk=line.settings["chunk"])
        taken, peak = clock.read(), status("VmHWM")
        rows = pl.scan_parquet(output).select(pl.len()).collect().item()
        return {**taken, "rows": rows, "before": before, "peak": peak - before}

    measure(users[:1000])  # what is loaded once is not counted
    line.serve({}, lambda: measure(users))


if __name__ == "__main__":
    main()
