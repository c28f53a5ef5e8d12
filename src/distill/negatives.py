"""Draws items a user has not seen, uniformly, without a mask over the catalogue."""

import torch
from torch import Tensor


def unseen_column(taken: Tensor, order: Tensor) -> Tensor:
    """Returns the column of the `order`-th item that is not taken.

    With the taken columns sorted, `t_0 < t_1 < …`, it is `order + #{i : t_i - i <= order}`.

    Args:
        taken: `[B, T]` int64 item numbers, 0 = padding, repeats allowed.
        order: `[B]` int64, 0-based among the items that are not taken.

    Returns:
        `[B]` int64 columns (item - 1).
    """
    taken, fresh = _distinct(taken)
    place = fresh.cumsum(1) - 1
    before = fresh & (taken - 1 - place <= order.unsqueeze(1))
    return order + before.sum(1)


def sample_negatives(
    history: Tensor,
    target: Tensor,
    num_items: int,
    generator: torch.Generator,
    before: int = 0,
    of_all: int | None = None,
) -> Tensor:
    """Draws one item per example that is neither in the history nor the target.

    Args:
        history: `[B, L]` int64 item numbers, 0 = padding.
        target: `[B]` int64 item numbers.
        num_items: Size of the catalogue; every example leaves at least one item.
        generator: On the device of `history`.
        before, of_all: These B are part of so many examples, `before` of them before the first; what is drawn is the
            same as if all were asked for at once. None: they are all.

    Returns:
        `[B]` int64 columns (item - 1), uniform over what is left.
    """
    taken = torch.cat([history, target.unsqueeze(1)], dim=1)
    left = num_items - _distinct(taken)[1].sum(1)
    # 62 random bits: the bias of the remainder is below num_items / 2**62
    draw = torch.randint(2**62, (len(left) if of_all is None else of_all,), generator=generator, device=history.device)
    return unseen_column(taken, draw.roll(-before)[: len(left)] % left)


def _distinct(taken: Tensor) -> tuple[Tensor, Tensor]:
    """Returns `taken` sorted along its rows, and `[B, T]` bool: a real item at its first place."""
    taken = taken.sort(1).values
    previous = torch.nn.functional.pad(taken, (1, 0))[:, :-1]
    return taken, taken > previous  # padding is 0, and nothing is smaller
