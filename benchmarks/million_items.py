"""The ten best of a million items after a history: all scores, bytes first, and an index for inner products (faiss).

    python -m benchmarks.million_items --envs DIR

An untrained SASRec (64 wide, two blocks, histories of 50) over item vectors drawn around 5,000 centres, with lengths
that differ as trained ones do. Ours is the whole graph of `run_export_onnx`: history in, these items left out, ten out.
faiss (an inverted file, whose lists to look into are the fewest that find 99 % on half of the questions) is given the
finished states and leaves nothing out: what the encoder takes would come on top. Recall is of the exact ten.
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from .environments import python_of
from .side_by_side import Worker, in_turn, markdown, median_of, parser, report, with_peers

SIZES = {"width": 64, "length": 50, "blocks": 2, "heads": 2}


def main(arguments: argparse.Namespace) -> None:
    items = 20_000 if arguments.quick else arguments.items
    rows: list[list[Any]] = []
    python = python_of(arguments.envs, "faiss")
    with tempfile.TemporaryDirectory() as name:
        table = Path(name) / "table.npy"
        np.save(table, drawn(items, SIZES["width"]))
        common = {**SIZES, "items": items, "batch": 1, "calls": 100, "table": str(table)}
        with Worker("our_served", {**common, "states": str(Path(name) / "states.npy")}, 1, Path(name)):
            pass  # writes the states
        workers = {
            "ours, all scores": Worker("our_served", common, arguments.threads, Path(name)),
            "ours, bytes first": Worker("our_served", {**common, "search": "bytes"}, arguments.threads, Path(name)),
            "faiss IVF": Worker(
                "faiss_search",
                {"table": str(table), "states": str(Path(name) / "states.npy")},
                arguments.threads,
                Path(name),
                python,
            ),
        }
        facts, measured = in_turn(workers, arguments.repeats)
    exact = facts["ours, all scores"]["found"]
    for who, each in facts.items():
        told = each.pop("found")
        reference = each.pop("exact", exact)  # faiss leaves no history out
        recall = np.mean([len(set(a) & set(b)) / len(b) for a, b in zip(told, reference, strict=True)])
        milliseconds = 1e3 * median_of(measured[who], "seconds")
        slowest = 1e3 * median_of(measured[who], "p99")
        rows.append([who, f"{milliseconds:.1f}", f"{slowest:.1f}", f"{recall:.4f}", each.get("told", "")])
    told = markdown([f"{items:,} items", "p50, ms", "p99, ms", "recall@10", ""], rows)
    report("million_items", arguments, told, facts=facts, measured=measured)


def drawn(items: int, width: int) -> np.ndarray:
    """Returns `[items, width]` float32."""
    draw = np.random.default_rng(0)
    centres = draw.standard_normal((5_000, width), dtype=np.float32)
    found = centres[draw.integers(0, len(centres), items)]
    found += 0.7 * draw.standard_normal((items, width), dtype=np.float32)
    return 0.1 * found * draw.lognormal(0, 0.3, (items, 1)).astype(np.float32)


if __name__ == "__main__":
    own = with_peers(parser(__doc__, repeats=3))
    own.add_argument("--items", type=int, default=1_000_000)
    main(own.parse_args())
