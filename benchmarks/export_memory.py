"""Peak memory of a teacher's export as the catalogue grows: 10 thousand, 100 thousand, a million items.

    python -m benchmarks.export_memory [--before DIR [--before-items N ...]]

An untrained teacher (the random two-layer encoder of the tests, SASRec as user encoder, both in the ranking) over a
synthetic log of 45 users; `metrics.memory_mb` as shipped, 256. Memory is the peak of resident memory during the export
above what was resident before: program, libraries, log and model. Beside it the model's own tables (encodings of texts,
the user encoder's vectors, biases), and how many examples' scores are there at once. Each case runs in a process of its
own. `--before` names another checkout of the project, which may want many gigabytes: the items to try it at are named
on their own.
"""

import argparse
import tempfile
from pathlib import Path

from src.core.paths import ROOT

from .side_by_side import Worker, in_turn, markdown, parser, report

MIB = 2**20
OVERRIDES = [
    "teacher/llm=tiny_random",
    "teacher.prompt.items=20",
    "teacher.prompt.title_tokens=8",
    "teacher.eval_tokens=4096",
    "teacher.user_encoder.model.history_length=20",
]


def main(arguments: argparse.Namespace) -> None:
    if arguments.quick:
        arguments.items, arguments.before_items = [1_000, 4_000], [1_000]
    cases = [("now", ROOT, items) for items in arguments.items]
    if arguments.before:
        cases += [("before", arguments.before.resolve(), items) for items in arguments.before_items]
    rows, measured = [], {}
    for which, tree, items in cases:
        settings = {"overrides": OVERRIDES, "items": items, "users": 45}
        with tempfile.TemporaryDirectory() as folder:
            worker = Worker("export_peak", settings, arguments.threads, Path(folder), tree=tree)
            (found,) = in_turn({which: worker}, 1)[1][which]
        measured[f"{which}, {items}"] = found
        sizes = [f"{found[name] / MIB:,.0f}" for name in ("peak", "tables")]
        rows.append([which, f"{items:,}", *sizes, found["tile"], f"{1000 * found['seconds'] / found['examples']:.1f}"])
    heads = ["export", "items", "peak, MiB", "the model's tables, MiB", "examples a tile", "ms an example"]
    report("export_memory", arguments, markdown(heads, rows), measured=measured)


if __name__ == "__main__":
    own = parser(__doc__, repeats=1)
    own.add_argument("--items", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    own.add_argument("--before", type=Path, metavar="DIR", help="another checkout of the project")
    own.add_argument("--before-items", type=int, nargs="+", default=[10_000, 100_000], metavar="N")
    main(own.parse_args())
