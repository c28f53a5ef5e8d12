"""Which number format to compute in, and the context that does it outside a training loop."""

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


def autocast(precision: str, device_type: str) -> AbstractContextManager:
    """Returns the context that computes as `precision` (resolved) says, on "cpu" or "cuda"."""
    return torch.autocast(device_type, torch.bfloat16, enabled=precision == "bf16-mixed")
