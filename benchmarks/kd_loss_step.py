"""Time of DLLM2Rec's distillation loss, forward and backward: its formula as written, and ours.

    python -m benchmarks.kd_loss_step

1,024 examples, 17,408 items, K = 10, α = 0.5, λ = 0.7, the `paper` preset in the reference's float64. As written the
formula goes through the candidates one by one, each with its own sums over the catalogue. Both give the same loss.
"""

import argparse
import tempfile
from pathlib import Path

from .side_by_side import Worker, in_turn, markdown, median_of, parser, report

SIZES = {"batch": 1024, "items": 17_408, "k": 10}
WEIGHTS = {"alpha": 0.5, "lam": 0.7, "beta": 1.0}
SIDES = {"formula": "the formula as written", "ours": "ours"}


def main(arguments: argparse.Namespace) -> None:
    sizes, timing = SIZES, {"warm_up": 1, "steps": 2}
    if arguments.quick:
        arguments.repeats, sizes, timing = 1, {"batch": 8, "items": 100, "k": 3}, {"warm_up": 1, "steps": 1}
    with tempfile.TemporaryDirectory() as name:
        workers = {
            side: Worker("kd_loss_sides", {"side": side, **sizes, **WEIGHTS, **timing}, arguments.threads, Path(name))
            for side in SIDES
        }
        facts, measured = in_turn(workers, arguments.repeats)
    seconds = {side: median_of(runs, "seconds") for side, runs in measured.items()}
    rows = [
        [SIDES[side], f"{facts[side]['loss']:.5f}", f"{1000 * value:,.0f} ms", f"{seconds['formula'] / value:.1f}×"]
        for side, value in seconds.items()
    ]
    table = markdown(["loss, forward and backward", "its value", "time", "faster"], rows)
    report("kd_loss_step", arguments, table, facts=facts, measured=measured)


if __name__ == "__main__":
    main(parser(__doc__).parse_args())
