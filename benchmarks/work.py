"""How much arithmetic a computation holds, and how fast this machine could do it."""

import time
from collections import defaultdict
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry, sdpa_backward_flop, sdpa_flop

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


def peak_rate(dtype: str, times: int) -> float:
    """Returns operations per second of the fastest of some products of square matrices."""
    matrix = torch.ones(SIDE, SIDE, dtype=getattr(torch, dtype))
    matrix @ matrix
    fastest = float("inf")
    for _ in range(times):
        start = time.perf_counter()
        matrix @ matrix
        fastest = min(fastest, time.perf_counter() - start)
    return 2 * SIDE**3 / fastest
