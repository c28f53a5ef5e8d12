"""Examples per second of a teacher's export: a plain loop, prompts in batches by length, and one pass per user.

    python -m benchmarks.export_speed [--users 10]

MovieLens-100K and all-MiniLM-L6-v2, the train examples of the first users, seen as an untrained teacher sees them (what
the weights are changes no time), ten items a prompt. The plain loop computes in float32, 32 examples at a time in the
log's order, every prompt padded to the longest of the log. The others are what an export does: a prompt per example
or one reading per user. Tokens are those of the prompts, without padding; "of the peak" as in `teacher_step`.
"""

import argparse
import tempfile
from pathlib import Path

from .side_by_side import Worker, in_turn, markdown, median_of, parser, report

PLAIN = "plain loop, float32, padded to the longest"
SAME_PROMPT = ["teacher.prompt.items=10", "teacher.prompt.title_tokens=24"]
EXAMPLE = "teacher.reading=example"
SIDES = {
    PLAIN: (True, [EXAMPLE]),
    "a prompt per example, by length": (False, [EXAMPLE]),
    "the same, frozen weights in bf16": (False, [EXAMPLE, "teacher.llm.dtype=bfloat16"]),
    "one pass per user, frozen weights in bf16": (False, ["teacher.llm.dtype=bfloat16", "teacher.reading=user"]),
}


def main(arguments: argparse.Namespace) -> None:
    users, common = arguments.users, ["dataset=ml_100k", *SAME_PROMPT]
    if arguments.quick:
        users, arguments.repeats, common = 2, 1, [*common, "teacher/llm=tiny_random", "teacher.prompt.title_tokens=8"]
    with tempfile.TemporaryDirectory() as name:
        workers = {
            what: Worker(
                "teacher_export",
                {"overrides": [*common, *overrides], "users": users, "plain": plain},
                arguments.threads,
                Path(name),
            )
            for what, (plain, overrides) in SIDES.items()
        }
        facts, measured = in_turn(workers, arguments.repeats)
    rows, slowest = [], median_of(measured[PLAIN], "seconds")
    for what, runs in measured.items():
        fact, seconds = facts[what], median_of(runs, "seconds")
        per_second = [f"{fact[name] / seconds:,.0f}" for name in ("examples", "tokens")]
        rows.append([what, *per_second, f"{fact['seconds_at_peak'] / seconds:.0%}", f"{slowest / seconds:.1f}×"])
    table = markdown(["export", "examples/s", "tokens/s", "of the peak", "faster"], rows)
    report("export_speed", arguments, table, facts=facts, measured=measured)


if __name__ == "__main__":
    own = parser(__doc__)
    own.add_argument("--users", type=int, default=10, help="users whose train examples are ranked")
    main(own.parse_args())
