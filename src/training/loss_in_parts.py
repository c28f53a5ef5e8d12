"""A training batch that does not fit into memory is computed in parts, with the same mean loss."""

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Generic

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from ..data.rows import Batch

log = logging.getLogger(__name__)


class LossInParts(Generic[Batch]):
    """Computes a mean loss in as many parts as memory needs: one, until it runs out, then twice as many, from then on.

    Parts keep no activations between forward and backward pass but compute them again, one part after the other: the
    largest part alone has to fit.

    Args:
        loss: Mean over the targets of a batch.
    """

    def __init__(self, loss: Callable[[Batch], Tensor]) -> None:
        self.loss = loss
        self.parts = 1
        self.last: tuple[Batch, dict[str, Any]]  # what `again` is about

    def __call__(self, batch: Batch, **how: Any) -> Tensor:
        """Returns the mean loss of `batch`; `how` is handed on to the loss.

        Raises:
            torch.OutOfMemoryError: A single row does not fit.
        """
        self.last = batch, how
        while True:
            try:
                return self._in_parts(batch, how)
            except torch.OutOfMemoryError:
                if self.parts >= len(batch.target):
                    raise
            self._split(len(batch.target))

    def again(self) -> Tensor | None:
        """Returns the last batch's loss in more parts, for when its backward pass ran out of memory.

        Returns:
            The mean loss, or None where a single row does not fit.
        """
        batch, how = self.last
        if self.parts >= len(batch.target):
            return None
        self._split(len(batch.target))
        return self(batch, **how)

    def _split(self, rows: int) -> None:
        self.parts *= 2
        torch.cuda.empty_cache()
        log.warning(
            "A batch of %d rows did not fit into memory: from now on batches are computed in %d parts, which is "
            "slower; a smaller teacher.train.max_tokens avoids it.",
            rows,
            self.parts,
        )

    def _in_parts(self, batch: Batch, how: dict[str, Any]) -> Tensor:
        if self.parts == 1:
            return self.loss(batch, **how)
        targets = (batch.target > 0).sum()
        total = torch.zeros((), device=batch.target.device)
        for rows in torch.arange(len(batch.target)).tensor_split(min(self.parts, len(batch.target))):
            part = replace(batch, **{name: of[rows] for name, of in vars(batch).items() if of is not None})
            share = (part.target > 0).sum() / targets
            total = total + share * checkpoint(self.loss, part, use_reentrant=False, **how)
        return total
