"""Where to compute and in which number format, outside a training loop that sees to both itself."""

from contextlib import AbstractContextManager

import torch


def resolve_precision(precision: str) -> str:
    """Returns Lightning's name of the precision to train in.

    Args:
        precision: "32-true", "bf16-mixed", or "auto": bf16 where the GPU or CPU has instructions for it. Asking the
            hardware rather than a stopwatch keeps the choice, and so the numbers, the same on the same machine.
    """
    if precision != "auto":
        return precision
    if torch.cuda.is_available():
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        has = torch.cpu.get_capabilities()
        fast = has.get("avx512_bf16", False) or has.get("amx_bf16", False)
    return "bf16-mixed" if fast else "32-true"


def best_device() -> torch.device:
    """Returns the GPU where there is one, else the CPU: where Lightning trains, too."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def autocast(precision: str, device: torch.device) -> AbstractContextManager:
    """Returns the context that computes as `precision` (resolved) says."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16-mixed")
