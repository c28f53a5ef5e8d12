"""Full ranking over a million items: users per second and peak memory, beside the time of the matrix products alone.

    python -m benchmarks.catalogue_evaluation

A synthetic log of 100,000 users with 52 interactions each; an untrained SASRec, 64 wide, two blocks, histories of 50
(what the weights are changes no time). Each target is ranked, each user has a list of 20 and a likelihood. Memory is
the peak of resident memory during the evaluation above what was resident before it: program, log and model. "At peak"
is what the model's matrix products would take at the speed of large float32 ones on this machine.
"""

import argparse

from .recbole_time_to_quality import SAME_MODEL
from .side_by_side import markdown, measured_afresh, median_of, parser, report

MIB = 2**20


def main(arguments: argparse.Namespace) -> None:
    if arguments.quick:
        arguments.repeats, arguments.items, arguments.users = 1, [20_000], 200
    rows, everything = [], {}
    for num_items in arguments.items:
        overrides = [*SAME_MODEL, f"metrics.memory_mb={arguments.memory_mb}"]
        settings = {"num_items": num_items, "num_users": arguments.users, "overrides": overrides}
        runs = [measured_afresh("catalogue_evaluation", settings, arguments.threads) for _ in range(arguments.repeats)]
        seconds, at_peak = median_of(runs, "seconds"), median_of(runs, "seconds_at_peak")
        memory = median_of(runs, "peak") / MIB
        speed = arguments.users / seconds
        rows.append([f"{num_items:,}", f"{speed:,.0f}", f"{seconds:,.1f}", f"{at_peak:,.1f}", f"{memory:,.0f}"])
        everything[str(num_items)] = runs
    table = markdown(["items", "users per second", "seconds", "at peak", "memory, MiB"], rows)
    report("catalogue_evaluation", arguments, table, items=everything)


if __name__ == "__main__":
    own = parser(__doc__, repeats=1)
    own.add_argument("--items", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    own.add_argument("--users", type=int, default=100_000)
    own.add_argument("--memory-mb", type=int, default=1024, help="metrics.memory_mb")
    main(own.parse_args())
