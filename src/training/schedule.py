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


def ilora_cosine(step: int, warmup: int, steps: int, start: float, end: float) -> float:
    """Returns the factor on the learning rate as iLoRA's code has it: linear from `start` to 1, then a half cosine.

    Its code lets the cosine rise again behind `steps`; this one stays at `end`.

    Args:
        step: From 0.
        warmup: Steps of the linear part; without any the first step has the full rate.
        steps: Where the cosine arrives at `end`.
        start, end: Factors, 0.01 in the reference.
    """
    if step < warmup:
        return start + (1 - start) * step / warmup
    done = min(1.0, (step - warmup) / max(1, steps - warmup))
    return end + (1 - end) / 2 * (1 + math.cos(math.pi * done))
