"""Time of a teacher's training step, forward and backward: PyTorch's fused attention, plain products, and ours.

    python -m benchmarks.teacher_step

Amazon Toys and all-MiniLM-L6-v2 with bf16 weights, a reading per user, 4,096 tokens a batch, AdamW left out. "Fused
attention" maps every item's vectors in each step and stores the scores of the whole catalogue, as one writes it first.
"Of the peak": what the step's matrix products would take at the speed of the best of ten products of 2048 × 2048
matrices in the same number format, over what the step takes. Tokens are those of the prompts, without padding.
"""

import argparse
import tempfile
from pathlib import Path

from .side_by_side import Worker, in_turn, markdown, median_of, parser, report

SIDES = {
    "fused": "fused attention, all scores stored",
    "plain": "plain attention up to 256 tokens",
    "ours": "and the item side's maps on the queries, scores in tiles",
}


def main(arguments: argparse.Namespace) -> None:
    settings = {"overrides": ["dataset=amazon_toys", "teacher.llm.dtype=bfloat16"], "batches": 6}
    if arguments.quick:
        arguments.repeats, settings["batches"] = 1, 1
        settings["overrides"] = ["dataset=amazon_toys", "teacher/llm=tiny_random", "teacher.prompt.title_tokens=8"]
    with tempfile.TemporaryDirectory() as name:
        workers = {
            side: Worker("teacher_step_sides", {"side": side, **settings}, arguments.threads, Path(name))
            for side in SIDES
        }
        facts, measured = in_turn(workers, arguments.repeats)
    seconds = {side: median_of(runs, "seconds") for side, runs in measured.items()}
    rows = []
    for side, value in seconds.items():
        fact = facts[side]
        speed = f"{fact['tokens'] / value:,.0f}", f"{fact['histories'] / value:.1f}"
        share, faster = f"{fact['seconds_at_peak'] / value:.0%}", f"{seconds['fused'] / value:.2f}×"
        rows.append([SIDES[side], f"{fact['loss']:.4f}", f"{1000 * value:,.0f} ms", faster, *speed, share])
    header = ["training step of the teacher", "its loss", "time", "faster", "tokens/s", "histories/s", "of the peak"]
    table = markdown(header, rows)
    report("teacher_step", arguments, table, facts=facts, measured=measured)


if __name__ == "__main__":
    main(parser(__doc__).parse_args())
