"""Seconds per training epoch of SASRec on MovieLens-1M: RecTools, RePlay and ours, at the same batch, history and loss.

    python -m benchmarks.peers_training --envs DIR [--steps 10]

Everyone learns from each user's newest 201 training interactions (200 inputs, 200 targets: what RecTools keeps of
its own accord), one sequence per user, batches of 128 sequences, 64 wide, 2 blocks, 2 heads, dropout 0.2,
cross-entropy over the whole catalogue at every position, float32 unless said otherwise, in Lightning's loop without
validation. An epoch is every sequence once. Steps in the middle of training are timed, and an epoch is
extrapolated: its targets over the targets per second of these steps, so that a batch of another size (our own
batching) compares too.
"""

import argparse
import tempfile
from pathlib import Path

from .environments import python_of
from .ours import FEW_ROWS, prepared, run_of, write_log
from .side_by_side import Worker, in_turn, markdown, median_rate, parser, report, with_peers

LENGTH, WIDTH, BLOCKS, HEADS, DROPOUT, BATCH = 200, 64, 2, 2, 0.2, 128
SAME_MODEL = [
    "dataset=movielens",
    "student=sasrec_movielens",  # whose batches are "its own"
    "student.model.positions=absolute",
    "student/loss=cross_entropy",
    f"student.model.history_length={LENGTH}",
    f"student.model.hidden_size={WIDTH}",
    f"student.model.num_blocks={BLOCKS}",
    f"student.model.num_heads={HEADS}",
    f"student.model.dropout={DROPOUT}",
]


def main(arguments: argparse.Namespace) -> None:
    timing = {"warm_up": 3, "steps": arguments.steps}
    overrides = list(SAME_MODEL)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if arguments.quick:
            arguments.repeats, timing = 1, {"warm_up": 1, "steps": 1}
            overrides += [*FEW_ROWS, f"paths.processed_dir={folder}"]
        dataset = prepared(run_of(overrides, folder))
        targets = int((dataset.num_train - 1).clamp(0, LENGTH).sum())
        write_log(dataset, folder / "log.inter", newest_train=LENGTH + 1)
        theirs = {"log": str(folder / "log.inter"), "num_items": dataset.num_items, "length": LENGTH, "width": WIDTH}
        theirs |= {"blocks": BLOCKS, "heads": HEADS, "dropout": DROPOUT, "batch": BATCH, **timing}

        def peer(which: str) -> Worker:
            return Worker(f"{which}_sasrec", theirs, arguments.threads, folder, python_of(arguments.envs, which))

        def ours(batch: int | None, precision: str) -> Worker:
            settings = {"windows": "newest", "batch": batch, **timing}
            settings["overrides"] = [*overrides, f"student.train.precision={precision}"]
            return Worker("our_steps", settings, arguments.threads, folder)

        workers = {
            "RecTools 0.19.0": peer("rectools"),
            "RePlay 0.22.0": peer("replay"),
            "ours, 128 sequences": ours(BATCH, "32-true"),
            "ours, 128 sequences, scores in the faster format": ours(BATCH, "auto"),
            "ours, its own batches, scores in the faster format": ours(None, "auto"),
        }
        facts, measured = in_turn(workers, arguments.repeats)
    seconds = {who: targets / median_rate(runs) for who, runs in measured.items()}
    rectools, replay, *_ = seconds.values()
    rows = [
        [who, f"{facts[who]['parameters']:,}", f"{value:.1f}", f"{rectools / value:.1f}×", f"{replay / value:.1f}×"]
        for who, value in seconds.items()
    ]
    table = markdown(["SASRec", "parameters", "seconds per epoch", "RecTools / it", "RePlay / it"], rows)
    report("peers_training", arguments, table, facts=facts, measured=measured, targets_per_epoch=targets)


if __name__ == "__main__":
    own = with_peers(parser(__doc__))
    own.add_argument("--steps", type=int, default=10, help="training steps per measurement")
    main(own.parse_args())
