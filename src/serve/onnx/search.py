"""The search for the best items within a graph: by groups of items, or by a table of bytes first.

What depends on how many items are asked for is written as ONNX operators: the exporter would fix that number.
"""

from math import log2, sqrt
from typing import Any

import torch
from torch import Tensor, nn
from torch.onnx.ops import symbolic, symbolic_multi_out

USUAL_K = 10
CANDIDATES = 8  # for each item that is asked for: those whose scores are computed in float32 where bytes chose them
CHECKED_K = 20  # with which `check_parity` ranks; for fewer items there are as many candidates: these are checked, too
LARGEST = 64  # of a byte of the table: with 127, processors without VNNI add two products up past what 16 bits hold
LEAST_SCALE = 1e-30  # of an item whose vector is zero


def best_of(scores: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the k largest scores of each row, `[B, k]`, largest first, and their places, `[B, k]` int64; of equal
    ones the first in front.

    They lie in the k groups of neighbours with the largest maxima. A heap looks at those groups alone: over a row of a
    million it takes longer than the scores themselves.

    Args:
        scores: `[B, n]` float32; that of place 0 is -inf.
        k: `[1]` int64, from 1 to n.
    """
    n = scores.shape[1]
    size = 2 ** round(log2(max(1.0, sqrt(n / 16))))
    rows, groups = scores.shape[0], -(-n // size)
    pool: dict[str, Any] = {"kernel_shape": [size], "strides": [size], "ceil_mode": 1}
    maxima = symbolic("MaxPool", [scores.unsqueeze(1)], pool, dtype=torch.float32, shape=(rows, 1, groups)).squeeze(1)
    fewer = torch.minimum(k, torch.tensor([groups]))
    _, chosen = top(maxima, fewer)
    chosen, _ = top(chosen, fewer, largest=False)  # neighbours stay in order: of equal scores the first wins
    places = chosen.unsqueeze(2) * size + torch.arange(size)
    places = places.where(places < n, 0)  # the last group may be smaller
    flat = symbolic("Reshape", [places, torch.tensor([0, -1])], dtype=torch.int64, shape=(rows, USUAL_K * size))
    best, within = top(scores.gather(1, flat), k)
    return best, flat.gather(1, within)


def top(values: Tensor, k: Tensor, largest: bool = True) -> tuple[Tensor, Tensor]:
    """Returns the k largest values of each row, or smallest, `[B, k]`, in order, and their places."""
    shape = (values.shape[0], USUAL_K)  # of the example that the exporter sees
    found, places = symbolic_multi_out(
        "TopK",
        [values, k],
        {"axis": 1, "largest": int(largest), "sorted": 1},
        dtypes=(values.dtype, torch.int64),
        shapes=(shape, shape),
        version=None,
    )
    return found, places


class TableOfBytes(nn.Module):
    """Vectors of items in a byte a dimension: a quarter of what has to be read from memory for each question.

    What it finds does not depend on what else is asked at the same time: each state has its own scale.

    Args:
        weight: `[n, D]` float32.
    """

    table: Tensor  # [D, n] int8
    scale: Tensor  # [n] float32

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        scale = (weight.abs().amax(1) / LARGEST).clamp(min=LEAST_SCALE)
        self.register_buffer("scale", scale)
        self.register_buffer("table", (weight / scale.unsqueeze(1)).round().to(torch.int8).T.contiguous())

    def forward(self, states: Tensor) -> Tensor:
        """Returns about `states · vectors`, `[B, n]` float32.

        Args:
            states: `[B, D]` float32.
        """
        size = states.abs().amax(1, keepdim=True).clamp(min=LEAST_SCALE)
        bytes_ = ((states / size) * 127 + 128).round().to(torch.uint8)
        inputs = [bytes_, self.table, torch.tensor(1 / 127), self.scale, torch.tensor(128, dtype=torch.uint8)]
        shape = (states.shape[0], self.table.shape[1])
        product = symbolic("com.microsoft::MatMulIntegerToFloat", inputs, dtype=torch.float32, shape=shape, version=1)
        return product * size
