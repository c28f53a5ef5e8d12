"""Batches of rows of similar length, so that almost no padding is computed."""

import torch
from torch import Tensor


def token_batches(lengths: Tensor, max_tokens: int, generator: torch.Generator | None = None) -> list[Tensor]:
    """Splits rows into batches whose padded size stays under a budget.

    Args:
        lengths: `[n]` int64, tokens of each row.
        max_tokens: Upper bound of rows x longest row in a batch; a single longer row makes a batch of its own.
        generator: Draws which of equally long rows go together and the order of the batches; None keeps batches from
            the longest to the shortest, so that the largest memory is asked for first.

    Returns:
        Row numbers of each batch; every row stands in exactly one.
    """
    if generator is None:
        order = lengths.argsort(descending=True, stable=True)
    else:
        shuffled = torch.randperm(len(lengths), generator=generator)
        order = shuffled[lengths[shuffled].argsort(descending=True, stable=True)]
    batches, start = [], 0
    while start < len(order):
        size = max(1, max_tokens // max(1, int(lengths[order[start]])))
        batches.append(order[start : start + size])
        start += size
    if generator is None:
        return batches
    return [batches[i] for i in torch.randperm(len(batches), generator=generator)]
