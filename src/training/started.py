"""Whether several processes were started together, and which one this is: as torchrun says, known without PyTorch."""

import os


def started_together() -> int:
    """Returns how many processes torchrun has started, on all machines; 1 where it has not been asked."""
    return int(os.environ["WORLD_SIZE"]) if "TORCHELASTIC_RUN_ID" in os.environ else 1


def place() -> int:
    """Returns which of them this is, from 0."""
    return int(os.environ["RANK"]) if started_together() > 1 else 0


def leads() -> bool:
    """Whether this process does all but the training alone: it is the first one, or the only one."""
    return place() == 0
