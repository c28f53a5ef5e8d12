"""Where to compute and in which number format, outside a training loop that sees to both itself."""

import time
from contextlib import AbstractContextManager
from typing import Literal

import torch

NumberFormat = Literal["32-true", "bf16-mixed"]  # Lightning's names


def resolve_precision(precision: Literal["auto"] | NumberFormat) -> NumberFormat:
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


def encoder_precision(precision: Literal["auto"] | NumberFormat) -> NumberFormat:
    """Returns Lightning's name of the precision of a student's encoder.

    On a CPU auto is float32: the layers are so narrow that conversions to bf16 cost more than they save.
    """
    return "32-true" if precision == "auto" and not torch.cuda.is_available() else resolve_precision(precision)


def logits_dtype(precision: Literal["auto"] | NumberFormat) -> torch.dtype:
    """Returns the dtype in which a student's states are multiplied with the item table.

    Args:
        precision: "32-true", "bf16-mixed" or "auto". On a CPU, auto measures a product of a usual size both ways and
            takes bf16 where that is at least 1.5 times as fast. The ratio is about 1 or above 3, and taken from the
            best of several times, so that a busy machine does not change the choice, and with it the numbers.
    """
    if precision == "auto" and not torch.cuda.is_available():
        use_bf16 = _bf16_speedup() >= 1.5
    else:
        use_bf16 = resolve_precision(precision) == "bf16-mixed"
    return torch.bfloat16 if use_bf16 else torch.float32


def _bf16_speedup() -> float:
    seconds = {
        dtype: min(_seconds(torch.ones(2048, 64, dtype=dtype), torch.ones(64, 2048, dtype=dtype)) for _ in range(15))
        for dtype in (torch.float32, torch.bfloat16)
    }
    return seconds[torch.float32] / seconds[torch.bfloat16]


def _seconds(left: torch.Tensor, right: torch.Tensor) -> float:
    start = time.perf_counter()
    left @ right
    return time.perf_counter() - start


def best_device() -> torch.device:
    """Returns the GPU where there is one, else the CPU: where Lightning trains, too."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def autocast(precision: NumberFormat, device: torch.device) -> AbstractContextManager:
    """Returns the context that computes as `precision` (resolved) says."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16-mixed")
