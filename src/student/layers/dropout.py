"""Dropout that draws one random byte per value on the CPU, where PyTorch's own draws a random double."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Dropout(nn.Module):
    """Zeroes each value with probability p in training and divides the others by 1 - p (Srivastava et al. 2014).

    On the CPU p is rounded to the nearest 256th above 0 (0.2 becomes 51/256 = 0.1992), in the probability and in the
    division alike, so the expectation stays exact. Elsewhere PyTorch's own is used.

    Args:
        p: In [0, 1).
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p == 0:
            return x
        if x.device.type != "cpu":
            return F.dropout(x, self.p)
        return x * _scaled_mask(x, max(1, min(255, round(256 * self.p))))


def _scaled_mask(x: Tensor, dropped_of_256: int) -> Tensor:
    """Returns 0 where a value is dropped, else 256 / (256 - dropped_of_256), like `x` in shape and dtype."""
    eights = torch.empty((x.numel() + 7) // 8, dtype=torch.int64).random_(-(2**63), None)  # all 64 bits
    byte = eights.view(torch.uint8)[: x.numel()].view(x.shape)
    return (byte >= dropped_of_256).to(x.dtype).mul_(256 / (256 - dropped_of_256))
