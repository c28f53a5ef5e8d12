"""`run_recommend` for a million users: users per second and peak memory, by users and by chunk.

    python -m benchmarks.recommend_memory

A synthetic log with 50 interactions a user over 12,000 items, an untrained SASRec (64 wide, two blocks, histories of
50; what the weights are changes no time), ten items for each user, what they have seen left out, to a Parquet file on
the disk. "Of processor time": users per second that the process had a core for. "At rest" is the process with the
served model read, its log and users among it; "above that" the peak of resident memory while it recommends. A process
of its own for each line.
"""

import argparse
import tempfile
from pathlib import Path

import torch

from .served import serve_untrained, synthetic_log
from .side_by_side import markdown, measured_afresh, median_of, parser, report

MIB = 2**20
LENGTH = 50


def main(arguments: argparse.Namespace) -> None:
    if arguments.quick:
        arguments.repeats, arguments.users, arguments.chunks, arguments.items = 1, [300], [100], 200
    rows, everything = [], {}
    for num_users in arguments.users:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            dataset = synthetic_log(torch.full((num_users,), LENGTH), arguments.items, folder)
            serve_untrained(dataset, folder / "served")
            del dataset
            for chunk in arguments.chunks:
                settings = {"model": str(folder / "served"), "chunk": chunk}
                runs = [measured_afresh("our_recommend", settings, arguments.threads) for _ in range(arguments.repeats)]
                seconds = median_of(runs, "seconds")
                rest, above = median_of(runs, "before") / MIB, median_of(runs, "peak") / MIB
                speed, of_processor = num_users / seconds, num_users / median_of(runs, "processor")
                told = [num_users, chunk, speed, of_processor, rest, above]
                rows.append([f"{each:,.0f}" for each in told])
                everything[f"{num_users} by {chunk}"] = runs
    heads = ["users", "chunk", "users per second", "of processor time", "at rest, MiB", "above that, MiB"]
    report("recommend_memory", arguments, markdown(heads, rows), cases=everything)


if __name__ == "__main__":
    own = parser(__doc__, repeats=1)
    own.add_argument("--users", type=int, nargs="+", default=[100_000, 1_000_000])
    own.add_argument("--chunks", type=int, nargs="+", default=[20_000, 100_000], help="recommend.chunk")
    own.add_argument("--items", type=int, default=12_000, help="of the catalogue")
    main(own.parse_args())
