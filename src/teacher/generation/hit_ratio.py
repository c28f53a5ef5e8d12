"""HitRatio@1 of generated answers: which of the candidates an answer names, and whether it is the right one."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from ...training.processes import summed


@dataclass(frozen=True)
class HitRatio:
    """What iLoRA's papers and code report of generated answers.

    valid_ratio: Share of answers that name exactly one candidate.
    of_valid: Share of right answers among the valid ones, as iLoRA's code has it; 0 where none is valid.
    of_all: Share of right answers among all.
    """

    valid_ratio: float
    of_valid: float
    of_all: float


def first_line(text: str) -> str:
    """Returns what counts of a generated text: what stands before the first line break, blanks around it left out."""
    return text.strip().split("\n")[0]


def named_candidate(answer: str, candidates: Sequence[str]) -> str | None:
    """Returns the one candidate whose title stands in the answer, letters compared without case; None otherwise.

    Entries are counted one by one: a title that stands twice among the candidates is never the only one.
    """
    said = _plain(answer)
    named = [candidate for candidate in map(_plain, candidates) if candidate in said]
    return named[0] if len(named) == 1 else None


def hit_ratio(answers: Sequence[str], targets: Sequence[str], candidates: Sequence[Sequence[str]]) -> HitRatio:
    """Judges answers, each by its own target and candidates (titles); at least one.

    Of processes that train together each judges its own, and the result is of all.
    """
    named = [named_candidate(answer, titles) for answer, titles in zip(answers, candidates, strict=True)]
    valid = sum(title is not None for title in named)
    right = sum(title == _plain(target) for title, target in zip(named, targets, strict=True))
    all_, valid, right = summed(torch.tensor([len(named), valid, right])).tolist()
    return HitRatio(valid / all_, right / valid if valid else 0.0, right / all_)


def _plain(text: str) -> str:
    return text.strip().lower()
