"""Examples per second of training without work on padding: batches by length, against the same model on padded rows.

    python -m benchmarks.padding [--steps 20]

Amazon Toys, histories of 30, SASRec, cross-entropy over the 11,924 items; histories there average 7 items. The
padded loop takes batches of 128 windows in random order, each padded to 30, and computes the logits of all
positions, telling PyTorch's cross-entropy to ignore the padding. The second row keeps these rows but gives our loss
the real positions only. The last is what a run does: windows of similar length together, in the training loop. An
example is a real target.
"""

import argparse
import tempfile
from pathlib import Path

from .side_by_side import Worker, in_turn, markdown, median_rate, parser, report

SAME_MODEL = [
    "dataset=amazon_toys",
    "student=sasrec",
    "student/loss=cross_entropy",
    "student.model.hidden_size=64",
    "student.model.num_blocks=2",
    "student.model.num_heads=2",
    "student.model.history_length=30",
]
ROWS = {
    "plain loop, rows padded to 30": ("padded_loop", {"batch": 128, "real_positions_only": False}),
    "the same, our loss at the real positions": (
        "padded_loop",
        {"batch": 128, "real_positions_only": True},
    ),
    "batches by length (a run)": ("our_steps", {"batch": None, "windows": "all"}),
}


def main(arguments: argparse.Namespace) -> None:
    timing = {"warm_up": 3, "steps": arguments.steps}
    overrides = list(SAME_MODEL)
    with tempfile.TemporaryDirectory() as name:
        if arguments.quick:
            arguments.repeats, timing = 1, {"warm_up": 1, "steps": 1}
            overrides += ["dataset.limit_data_rows=2000", f"paths.processed_dir={name}"]
        workers = {
            what: Worker(module, {"overrides": overrides, **own, **timing}, arguments.threads, Path(name))
            for what, (module, own) in ROWS.items()
        }
        facts, measured = in_turn(workers, arguments.repeats)
    speed = {what: median_rate(runs) for what, runs in measured.items()}
    padded = next(iter(speed.values()))
    rows = [[what, f"{value:,.0f}", f"{value / padded:.1f}×"] for what, value in speed.items()]
    table = markdown(["training", "examples per second", "faster"], rows)
    report("padding", arguments, table, facts=facts, measured=measured)


if __name__ == "__main__":
    own = parser(__doc__)
    own.add_argument("--steps", type=int, default=20, help="training steps per measurement")
    main(own.parse_args())
