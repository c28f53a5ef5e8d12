"""A training batch that does not fit into memory is computed in parts, with the same mean loss."""

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
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
    largest part alone has to fit. The loss and its gradient are those of the whole batch, unless the model looks at a
    batch's rows together (batch normalisation): then each part is a batch of its own.

    Args:
        loss: Mean over the terms of a batch.
        weight: How many terms that mean has, by which a part counts.
        counted: Returns running statistics that a forward pass moves on in place; one that is done again, for want of
            memory or in the backward pass, moves them once.
    """

    def __init__(
        self,
        loss: Callable[[Batch], Tensor],
        weight: Callable[[Batch], Tensor],
        counted: Callable[[], Iterable[Tensor]] = tuple,
    ) -> None:
        self.loss = loss
        self.weight = weight
        self.counted = counted
        self.parts = 1
        self.divisible = True  # False: where others wait for each pass of the model, there may be no more of them
        self.last: tuple[Batch, dict[str, Any]]  # what `again` is about
        self.before: list[Tensor] = []  # the running statistics before it

    def __call__(self, batch: Batch, **how: Any) -> Tensor:
        """Returns the mean loss of `batch`; `how` is handed on to the loss.

        Raises:
            torch.OutOfMemoryError: A single row does not fit, or the batch does not and is not `divisible`.
        """
        self.last = batch, how
        self.before = _copies(self.counted())
        while True:
            try:
                return self._in_parts(batch, how)
            except torch.OutOfMemoryError:
                if self.parts >= len(batch.target) or not self.divisible:
                    raise
            _put_back(self.counted(), self.before)
            self._split(len(batch.target))

    def again(self) -> Tensor | None:
        """Returns the last batch's loss in more parts, for when its backward pass ran out of memory.

        Returns:
            The mean loss, or None where a single row does not fit.
        """
        batch, how = self.last
        if self.parts >= len(batch.target):
            return None
        _put_back(self.counted(), self.before)
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
        whole = self.weight(batch)
        total = torch.zeros((), device=batch.target.device)
        for rows in torch.arange(len(batch.target)).tensor_split(min(self.parts, len(batch.target))):
            part = replace(batch, **{name: of[rows] for name, of in vars(batch).items() if of is not None})
            loss = checkpoint(self.loss, part, use_reentrant=False, context_fn=self._contexts, **how)
            total = total + self.weight(part) / whole * loss
        return total

    def _contexts(self) -> tuple[AbstractContextManager, AbstractContextManager]:
        """Returns the contexts of a part's forward pass and of its repetition in the backward pass."""
        return nullcontext(), _unchanged(self.counted)


@contextmanager
def _unchanged(counted: Callable[[], Iterable[Tensor]]) -> Iterator[None]:
    before = _copies(counted())
    try:
        yield
    finally:
        _put_back(counted(), before)


def _copies(counted: Iterable[Tensor]) -> list[Tensor]:
    return [each.clone() for each in counted]


@torch.no_grad()
def _put_back(counted: Iterable[Tensor], before: list[Tensor]) -> None:
    for each, value in zip(counted, before, strict=True):
        each.copy_(value)
