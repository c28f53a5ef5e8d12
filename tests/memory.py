"""How much memory a computation takes, counted by PyTorch's allocator."""

import itertools
from collections.abc import Callable

import torch


def peak_bytes(compute: Callable[[], object]) -> int:
    """Returns the most memory that `compute()` held at once beyond what was there, working memory included."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        compute()
    held = [event.nbytes() for event in profile.profiler.kineto_results.events() if event.name() == "[memory]"]
    return max(itertools.accumulate(held))
