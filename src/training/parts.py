"""A batch's rows, shared out among the processes that train together.

All of them draw and gather the same whole batch, so that the batches are those of one process, and each computes its
own rows. A mean over a batch's terms is the mean over processes of `size · own terms / all terms · mean of own terms`
(`own_share`), and DDP takes just that mean of the gradients.
"""

from dataclasses import dataclass, replace
from typing import Generic

import torch
from torch import Tensor

from ..data.rows import Batch
from .processes import rank, size, summed


@dataclass(frozen=True)
class Part(Generic[Batch]):
    """A process's rows of a batch.

    batch: They; where there are fewer rows than processes and none is left for this one, the first of all, so that
        there is something to compute.
    before: Rows of the processes before this one.
    rows: Its own, 0 where it has none.
    """

    batch: Batch
    before: int
    rows: int


def own_part(batch: Batch) -> Part[Batch]:
    """Returns this process's rows: one after the other, as many as the others have, give or take one."""
    if size() == 1:
        return Part(batch, 0, len(batch.target))
    own = torch.arange(len(batch.target)).tensor_split(size())[rank()]
    before, rows = (int(own[0]), len(own)) if len(own) else (len(batch.target), 0)
    chosen = slice(before, before + rows) if rows else slice(0, 1)
    fields = {name: value[chosen] for name, value in vars(batch).items() if value is not None}
    return Part(replace(batch, **fields), before, rows)


def own_share(own: int, whole: int) -> float:
    """Returns the factor that makes a mean over `own` terms a process's share of the mean over the `whole` batch's:
    the mean of the shares over processes is that mean. 1 where there is one process.
    """
    return 1.0 if size() == 1 else size() * own / whole


def means_of_parts(terms: dict[str, Tensor]) -> dict[str, Tensor]:
    """Returns the means over processes of scalars, without gradient: of shares of means, the whole batch's means."""
    if size() == 1:
        return {name: value.detach() for name, value in terms.items()}
    means = summed(torch.stack([value.double() for value in terms.values()])) / size()
    return {name: mean.to(value.dtype) for (name, value), mean in zip(terms.items(), means, strict=True)}


def mean_over_parts(values: Tensor, own: int, whole: int) -> Tensor:
    """Returns the mean over processes' values, without gradient: the first `own` of this one's, `whole` of all."""
    return values.mean() if size() == 1 else summed(values[:own].sum()) / whole
