"""iLoRA's curriculum: at first mostly prompts of titles alone, towards the end mostly prompts with item vectors."""

import torch


def text_only_probability(done: float) -> float:
    """Returns `1 - done`, the probability that a batch shows titles alone, `done` being the share of all steps."""
    return max(0.0, 1 - done)


def shows_vectors(done: float, generator: torch.Generator) -> bool:
    """Draws whether the next batch shows item vectors behind the titles."""
    return torch.rand((), generator=generator).item() >= text_only_probability(done)
