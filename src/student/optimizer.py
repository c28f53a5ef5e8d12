"""AdamW whose cost for the item table grows with the items of a batch, not with the catalogue."""

from collections.abc import Callable, Iterable
from typing import Any, overload

import torch
from torch import Tensor


class RowwiseAdamW(torch.optim.Optimizer):
    """AdamW for most parameters, and for item tables with sparse gradients Adam on the rows that a batch touched.

    An untouched row keeps its value and its moments (`torch.optim.SparseAdam`), where AdamW would move it on by its old
    moments: for a large catalogue a different course, at a small part of the cost. Tables have no weight decay.

    Args:
        tables: Parameters whose gradients are sparse.
        others: All other parameters.
        lr, weight_decay: Of AdamW; lr of both.
    """

    def __init__(self, tables: Iterable[Tensor], others: Iterable[Tensor], lr: float, weight_decay: float) -> None:
        self.parts = (
            torch.optim.SparseAdam(list(tables), lr=lr),
            torch.optim.AdamW(list(others), lr=lr, weight_decay=weight_decay, fused=True),
        )
        super().__init__([group for part in self.parts for group in part.param_groups], {"lr": lr})
        for part, group in zip(self.parts, self.param_groups, strict=True):
            part.param_groups = [group]  # one group each, shared, so that a schedule reaches both

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for part in self.parts:
            part.step()
        return loss

    def state_dict(self) -> dict[str, Any]:
        return {"parts": [part.state_dict() for part in self.parts]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        for part, state in zip(self.parts, state_dict["parts"], strict=True):
            part.load_state_dict(state)
        self.param_groups = [group for part in self.parts for group in part.param_groups]
