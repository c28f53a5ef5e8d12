"""Learning rates over the steps of a training, as factors on the full rate."""

import math


def warmup_cosine(step: int, warmup: int, steps: int) -> float:
    """Returns the factor on the learning rate: linear to 1 over `warmup` steps, then a half cosine to 0 at `steps`."""
    if step < warmup:
        return warmup_constant(step, warmup)
    done = min(1.0, (step - warmup) / max(1, steps - warmup))
    return 0.5 * (1 + math.cos(math.pi * done))


def warmup_constant(step: int, warmup: int) -> float:
    """Returns the factor on the learning rate: linear to 1 over `warmup` steps, then 1."""
    return min(1.0, (step + 1) / max(1, warmup))
