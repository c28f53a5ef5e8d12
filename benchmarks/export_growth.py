"""Seconds of a teacher's export as the examples grow: once, four times and ten times as many.

    python -m benchmarks.export_growth [--before DIR]

A synthetic log, histories of 60 interactions uniform over the catalogue; the random two-layer encoder of the tests as
language model, one reading per user, a part of everybody's examples asked for, twenty items kept of each. "Exponent":
of the power of the number of examples by which what stands before it grows between this size and the one above; 1 is
linear. "A pass": windows that the language model reads in one forward pass, on average. "Windows gathered": those that
were looked at to find what is to be read, a count that no other work on the machine changes. `--before` names
another checkout of the project, whose export is measured in turn with this one's.
"""

import argparse
import math
import tempfile
from pathlib import Path

from src.core.paths import ROOT

from .side_by_side import Worker, in_turn, markdown, parser, report

MULTIPLES = (1, 4, 10)


def main(arguments: argparse.Namespace) -> None:
    users = 40 if arguments.quick else arguments.users
    settings = {
        "overrides": [
            "teacher/llm=tiny_random",
            "teacher.prompt.items=20",
            "teacher.prompt.title_tokens=8",
            "teacher.user_encoder.model.history_length=50",
        ],
        "users": [users * times for times in MULTIPLES],
        "interactions": 60,
        "items": 2_000,
        "share": 0.5,
    }
    trees = {"now": ROOT, **({"before": arguments.before.resolve()} if arguments.before else {})}
    with tempfile.TemporaryDirectory() as name:
        workers = {
            which: Worker("export_growth", settings, arguments.threads, Path(name), tree=tree)
            for which, tree in trees.items()
        }
        _, measured = in_turn(workers, len(MULTIPLES))
    rows = []
    for which, sizes in measured.items():
        for smaller, size in zip([None, *sizes[:-1]], sizes, strict=True):
            grown = [
                "" if smaller is None else f"{exponent(smaller, size, of):.2f}" for of in ("processor", "gathered")
            ]
            read = [f"{size['rows']:,}", f"{size['rows'] / size['passes']:.1f}", f"{size['gathered']:,}"]
            rows.append([which, f"{size['examples']:,}", f"{size['processor']:.1f}", grown[0], *read, grown[1]])
    heads = ["export", "examples", "core s", "exponent", "windows read", "a pass", "windows gathered", "exponent"]
    report("export_growth", arguments, markdown(heads, rows), measured=measured)


def exponent(smaller: dict[str, float], larger: dict[str, float], of: str) -> str:
    """Returns by which power of the examples something grows."""
    return f"{math.log(larger[of] / smaller[of], larger['examples'] / smaller['examples']):.2f}"


if __name__ == "__main__":
    own = parser(__doc__, repeats=1)
    own.add_argument("--users", type=int, default=600, help="of the smallest log")
    own.add_argument("--before", type=Path, metavar="DIR", help="another checkout of the project")
    main(own.parse_args())
