"""The ten best items after a history, without a service around it: RePlay's compiled SASRec and our ONNX file.

    python -m benchmarks.served_graph --envs DIR [--items 12000]

Untrained models of the same sizes, whole histories, one question after the other. RePlay's (ONNX, OpenVINO) returns
the scores of the catalogue, of which `torch.topk` takes ten; ours leaves out the items of the history, too.
"""

import argparse
import tempfile
from pathlib import Path

from .environments import python_of
from .side_by_side import Worker, in_turn, markdown, median_of, parser, report, with_peers

SIZES = {"width": 64, "length": 50, "blocks": 2, "heads": 2}


def main(arguments: argparse.Namespace) -> None:
    rows, everything = [], {}
    python = python_of(arguments.envs, "replay_compiled")
    for items in arguments.items[: 1 if arguments.quick else None]:
        for batch in (1, 32):
            settings = {**SIZES, "items": items, "batch": batch, "calls": 3 if arguments.quick else 200 // batch}
            with tempfile.TemporaryDirectory() as folder:
                workers = {
                    "RePlay 0.22.0": Worker("replay_compiled", settings, arguments.threads, Path(folder), python),
                    "ours": Worker("our_served", settings, arguments.threads, Path(folder)),
                }
                facts, measured = in_turn(workers, arguments.repeats)
            seconds = {who: median_of(measured[who], "seconds") / batch for who in measured}
            for who in measured:
                faster = f"{seconds['RePlay 0.22.0'] / seconds['ours']:.1f}×" if who == "ours" else ""
                told = f"{1e6 * seconds[who]:.0f} µs"
                rows.append([f"{items:,}", batch, who, f"{facts[who]['parameters']:,}", told, faster])
            everything[f"{items} x {batch}"] = {"facts": facts, "measured": measured}
    table = markdown(["items", "at once", "model file", "parameters", "a history", "faster"], rows)
    report("served_graph", arguments, table, cases=everything)


if __name__ == "__main__":
    own = with_peers(parser(__doc__))
    own.add_argument("--items", type=int, nargs="+", default=[12_000, 100_000], help="sizes of the catalogue")
    main(own.parse_args())
