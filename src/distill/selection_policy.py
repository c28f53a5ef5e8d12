"""Which train examples the teacher is asked about: an LLM costs seconds per example, so asking is a choice."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from ..core.errors import UserError


class SelectionPolicy(ABC):
    """Chooses train examples, and says how much each counts in distillation."""

    @abstractmethod
    def select(self, example_ids: Tensor, budget: int, generator: torch.Generator) -> Tensor:
        """Returns the examples the teacher is asked about.

        Args:
            example_ids: `[n]` int64, all train examples, each once.
            budget: The most examples the caller wants to pay for.
            generator: Source of chance, on the CPU; the same seed gives the same choice.

        Returns:
            `[m]` int64, ascending, each once.
        """

    def weights(self, example_ids: Tensor) -> Tensor:
        """Returns `[m]` float32, how much each of the selected `example_ids [m]` counts: 1 unless a policy says so."""
        return torch.ones(len(example_ids))


class SelectionPolicyAll(SelectionPolicy):
    """Every train example. The budget is ignored: all means all."""

    def select(self, example_ids: Tensor, budget: int, generator: torch.Generator) -> Tensor:
        return example_ids.sort().values


class SelectionPolicyRandom(SelectionPolicy):
    """A random share, drawn without replacement: `max(1, round(share · n))` examples, never above the budget.

    Args:
        share: In (0, 1].
    """

    def __init__(self, share: float) -> None:
        self.share = share

    def select(self, example_ids: Tensor, budget: int, generator: torch.Generator) -> Tensor:
        size = min(budget, max(1, round(self.share * len(example_ids))))
        drawn = torch.randperm(len(example_ids), generator=generator)[:size]
        return example_ids[drawn].sort().values


def create_selection_policy(name: str, share: float) -> SelectionPolicy:
    """Returns a policy by its name.

    Args:
        name: "all" or "random" (config key `active.policy`).
        share: Share of the train examples (config key `active.share`), in (0, 1]; 1 for "all".

    Raises:
        UserError: This version has no policy of that name, or the share does not suit it.
    """
    if name not in ("all", "random"):
        raise UserError(f"active.policy={name} is not part of this version: use one of all, random.")
    if not 0 < share <= 1:
        raise UserError(f"active.share={share} is no share: give a number above 0 and at most 1.")
    if name == "random":
        return SelectionPolicyRandom(share)
    if share != 1:
        raise UserError(f"active.share={share} does not suit active.policy=all: use 1.0, or active.policy=random.")
    return SelectionPolicyAll()
