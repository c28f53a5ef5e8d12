"""How much arithmetic a computation holds, and how fast this machine could do it."""

import re
import time
from collections import defaultdict
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry, sdpa_backward_flop, sdpa_flop

from .timing import finish_on_device

aten = torch.ops.aten
FLOP = {  # of an operator's arguments; what PyTorch has not counted yet is attention on a CPU
    **flop_registry,
    aten._scaled_dot_product_flash_attention_for_cpu: sdpa_flop,
    aten._scaled_dot_product_flash_attention_for_cpu_backward: sdpa_backward_flop,
}
SIDE = 2048


class Work(TorchDispatchMode):
    """Adds up the floating-point operations of matrix products by number format."""

    def __init__(self) -> None:
        super().__init__()
        self.done: dict[str, int] = defaultdict(int)

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if func._overloadpacket in FLOP:
            flop = FLOP[func._overloadpacket](*args, **(kwargs or {}), out_val=out)
            self.done[str(args[0].dtype).removeprefix("torch.")] += flop
        return out


def peak_rate(dtype: str, times: int, side: int = SIDE, device: torch.device | None = None) -> float:
    """Returns operations per second of the fastest of some products of square matrices; on the CPU by default.

    The matrices are random: a GPU that multiplies ones takes less power and clocks higher.
    """
    matrix = torch.randn(side, side, device=device).to(getattr(torch, dtype))
    matrix @ matrix
    fastest = float("inf")
    for _ in range(times):
        finish_on_device()
        start = time.perf_counter()
        matrix @ matrix
        finish_on_device()
        fastest = min(fastest, time.perf_counter() - start)
    return 2 * side**3 / fastest


# Dense bf16 products with float32 sums, in 10^12 operations per second: NVIDIA's data sheets, without sparsity.
PEAKS = {
    ("A100",): 312.0,
    ("A30",): 165.0,
    ("A10",): 125.0,
    ("L4",): 121.0,
    ("L40S",): 362.0,
    ("H100",): 989.4,
    ("H100", "PCIe"): 756.0,
    ("H100", "NVL"): 835.0,
    ("H200",): 989.4,
    ("H200", "NVL"): 835.0,
    ("GH200",): 989.4,
    ("B200",): 2250.0,
    ("RTX", "3090"): 71.0,
    ("RTX", "4090"): 165.2,
}


def data_sheet_peak(name: str) -> float | None:
    """Returns the bf16 operations per second of a device that calls itself `name`; None where it is not known, or is a
    part of one or a slower one of the same name.
    """
    words = set(re.split(r"[^A-Za-z0-9]+", name))
    known = [key for key in PEAKS if words.issuperset(key)]
    return 1e12 * PEAKS[max(known, key=len)] if known and words.isdisjoint(("MIG", "Laptop", "D")) else None
