"""iLoRA's curriculum: at first mostly prompts of titles alone, towards the end mostly prompts with item vectors."""

import torch


def text_only_probability(step: int, steps: int) -> float:
    """Returns `1 - step / steps`, the probability that a batch shows titles alone; 0 from `steps` on."""
    return max(0.0, 1 - step / steps)


def shows_vectors(step: int, steps: int, generator: torch.Generator) -> bool:
    """Draws whether the batch of `step` shows item vectors behind the titles."""
    return torch.rand((), generator=generator).item() >= text_only_probability(step, steps)
