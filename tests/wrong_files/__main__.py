"""Injects every fault and prints how many of each kind were read right and how many refused in a sentence."""

import tempfile
from collections import Counter
from pathlib import Path

from src.evaluation.tables import TextTable
from tests.wrong_files.cases import outcome
from tests.wrong_files.configs import VALUES, told_of
from tests.wrong_files.corpus import CASES


def main() -> None:
    right: Counter[str] = Counter()
    refused: Counter[str] = Counter()
    for case in CASES:
        with tempfile.TemporaryDirectory() as temporary:
            found = outcome(case, Path(temporary))
        (right if found is None else refused)[case.kind.name] += 1
    for value in VALUES:
        kept, told = told_of(value)
        right["values of every setting"] += len(kept)
        refused["values of every setting"] += len(told)
    kinds = list(dict.fromkeys([*right, *refused]))
    counts = [(kind, right[kind] + refused[kind], right[kind], refused[kind]) for kind in kinds]
    total = ("all", *(sum(row[place] for row in counts) for place in (1, 2, 3)))
    rows = [[str(row[0]), *(f"{count:,}" for count in row[1:])] for row in (*counts, total)]
    print(TextTable("Wrong files", ["input", "faults", "right result", "refused in a sentence"], rows).markdown())


if __name__ == "__main__":
    main()
