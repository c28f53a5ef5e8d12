"""Peak memory of training with sampled softmax as the catalogue grows: 10 thousand, 100 thousand, a million items.

    python -m benchmarks.catalogue_memory [--plot docs/images]

A synthetic log of 2,000 users with 50 interactions each, uniform over the catalogue; SASRec, 64 wide, shipped sampled
softmax, once with AdamW over all items and once with `student.train.sparse_items=true`, which moves on only the items
of a batch. Each case runs in a process of its own. Memory is the peak of resident memory during training above what
was resident before the model was made (program, libraries and log). Beside it what must be kept: the item table and
AdamW's two averages, and without sparse_items the table's gradient: 3 or 4 × items × 64 × 4 bytes.
"""

import argparse
from pathlib import Path

from .side_by_side import markdown, measured_afresh, median_of, parser, report

WIDTH = 64
MIB = 2**20
TABLES = {"all items moved": 4, "items of a batch moved": 3}  # of float32 [items, WIDTH]


def main(arguments: argparse.Namespace) -> None:
    if arguments.quick:
        arguments.repeats, arguments.items, arguments.steps = 1, [1000, 10_000], 2
    rows, measured = [], {}
    for way, num_tables in TABLES.items():
        for num_items in arguments.items:
            runs = [run(num_items, way == "items of a batch moved", arguments) for _ in range(arguments.repeats)]
            memory, tables = median_of(runs, "peak") / MIB, num_tables * num_items * WIDTH * 4 / MIB
            rows.append([way, num_items, memory, tables, memory - tables, 1000 * median_of(runs, "seconds_per_step")])
            measured[f"{way}, {num_items}"] = runs
    heads = ["sampled softmax", "items", "peak, MiB", "item tables, MiB", "the rest, MiB", "ms per step"]
    table = markdown(heads, [[way, *(f"{value:,.0f}" for value in values)] for way, *values in rows])
    report("catalogue_memory", arguments, table, measured=measured)
    if arguments.plot:
        plot(rows, arguments.plot)


def run(num_items: int, sparse: bool, arguments: argparse.Namespace) -> dict:
    """Returns the measurement of a fresh process."""
    overrides = [
        "student=sasrec",
        "student/loss=sampled_softmax",
        "student.model.history_length=100",
        f"student.model.hidden_size={WIDTH}",
        "student.model.num_blocks=2",
        "student.model.num_heads=2",
        "student.train.batch_targets=4096",
        f"student.train.sparse_items={str(sparse).lower()}",
    ]
    settings = {"num_items": num_items, "overrides": overrides, "steps": arguments.steps}
    return measured_afresh("catalogue_peak", settings, arguments.threads)


def plot(rows: list[list], folder: Path) -> None:
    from matplotlib import pyplot as plt  # only those who want the plot need it

    plt.rcParams["svg.hashsalt"] = "catalogue_memory"
    figure, axes = plt.subplots(figsize=(6.5, 3.8), layout="constrained")
    for way, colour in zip(TABLES, ("#b5533c", "#1f6f8b"), strict=True):
        _, items, memory, tables, *_ = zip(*(row for row in rows if row[0] == way), strict=True)
        axes.plot(items, memory, marker="o", color=colour, label=f"{way}: peak")
        axes.plot(items, tables, ls=":", color=colour, label=f"{way}: item tables")
    axes.set(xscale="log", yscale="log", xlabel="items", ylabel="MiB above what was resident before")
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.yaxis.set_major_formatter("{x:,g}")
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8)
    folder.mkdir(parents=True, exist_ok=True)
    figure.savefig(folder / "catalogue_memory.svg", metadata={"Date": None})
    figure.savefig(folder / "catalogue_memory.png", dpi=120)


if __name__ == "__main__":
    own = parser(__doc__, repeats=1)
    own.add_argument("--items", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    own.add_argument("--steps", type=int, default=30, help="training steps")
    own.add_argument("--plot", type=Path, help="folder for catalogue_memory.svg; needs matplotlib")
    main(own.parse_args())
