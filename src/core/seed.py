"""Same seed, same machine, same numbers."""

import random

import numpy as np
import torch


def seed_everything(seed: int) -> None:
    """Seeds Python, NumPy and PyTorch, and asks PyTorch for deterministic kernels (a warning where there is none)."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    torch.use_deterministic_algorithms(True, warn_only=True)
    # Filling takes 8 % of a training step. The name is a property of the module, which type checkers do not see.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


def generator(seed: int) -> torch.Generator:
    """Returns a CPU random generator of its own, so that one consumer's draws never shift another's."""
    return torch.Generator().manual_seed(seed)
