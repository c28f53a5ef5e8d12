"""Where to compute and in which number format, outside a training loop that sees to both itself."""

import time
from contextlib import AbstractContextManager
from statistics import median

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


def encoder_precision(precision: str) -> str:
    """Returns Lightning's name of the precision of a student's encoder.

    On a CPU auto is float32: the layers are so narrow that conversions to bf16 cost more than they save.
    """
    return "32-true" if precision == "auto" and not torch.cuda.is_available() else resolve_precision(precision)


def logits_dtype(precision: str, positions: int, width: int, num_items: int) -> torch.dtype:
    """Returns the dtype in which states `[positions, width]` are multiplied with an item table `[num_items, width]`.

    Args:
        precision: "32-true", "bf16-mixed" or "auto". On a CPU, auto measures a product of this size both ways and takes
            bf16 where that is at least 1.5 times as fast: far from the noise of a busy machine, so that the choice, and
            with it the numbers, stay the same on the same machine.
    """
    if precision == "auto" and not torch.cuda.is_available():
        use_bf16 = _bf16_speedup(min(positions, 4096), width, min(num_items, 4096)) >= 1.5
    else:
        use_bf16 = resolve_precision(precision) == "bf16-mixed"
    return torch.bfloat16 if use_bf16 else torch.float32


def _bf16_speedup(rows: int, width: int, columns: int) -> float:
    seconds = {}
    for dtype in (torch.float32, torch.bfloat16):
        left, right = torch.ones(rows, width, dtype=dtype), torch.ones(width, columns, dtype=dtype)
        seconds[dtype] = median(_seconds(left, right) for _ in range(7))
    return seconds[torch.float32] / seconds[torch.bfloat16]


def _seconds(left: torch.Tensor, right: torch.Tensor) -> float:
    start = time.perf_counter()
    left @ right
    return time.perf_counter() - start


def best_device() -> torch.device:
    """Returns the GPU where there is one, else the CPU: where Lightning trains, too."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def autocast(precision: str, device: torch.device) -> AbstractContextManager:
    """Returns the context that computes as `precision` (resolved) says."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16-mixed")
