"""One prompt per user instead of one per example: a whole history as tokens, and which prefix each token belongs to."""

from dataclasses import dataclass

import torch
from torch import Tensor

from .prompt import PADDING_ID, PromptBuilder


@dataclass(frozen=True)
class UserPromptBatch:
    """Histories of one batch as token ids, right-padded to the longest.

    token_ids: `[B, T]` int64, `MARKER_ID` at markers, `PADDING_ID` at padding.
    marked_items: `[markers]` int64 item numbers, in the order of the markers read row by row.
    place: `[B, T]` int64, the place in the history, from 0, of the item whose title and marker a token is part of; the
        words before the first title belong to place 0, padding to a place behind every item.
    """

    token_ids: Tensor
    marked_items: Tensor
    place: Tensor


class UserPrompts:
    """Writes histories as `<words before> Title [HistoryEmb], Title [HistoryEmb], …`, all items, nothing behind them.

    The state at an item's marker may have read all that came before it and nothing that comes after.

    Args:
        prompts: Where words and titles come from, tokenised once.
    """

    def __init__(self, prompts: PromptBuilder) -> None:
        self.before = prompts.before
        self.comma = prompts.separator  # belongs to the item that follows: before a title there is one
        self.pieces = prompts.pieces
        self.fixed = len(self.before) - len(self.comma)  # tokens of a prompt: this many and those of commas and pieces
        self.piece_lengths = torch.where(prompts.piece_lengths > 0, prompts.piece_lengths + len(self.comma), 0)

    def longest(self, items: int) -> int:
        """Returns the most tokens that a prompt of so many items can have."""
        return self.fixed + items * int(self.piece_lengths.max())

    def lengths(self, history: Tensor) -> Tensor:
        """Returns the tokens of each prompt, `[B]` int64 on the CPU, for histories `[B, L]`, without building it."""
        return self.fixed + self.piece_lengths[history.cpu()].sum(1)

    def build(self, history: Tensor) -> UserPromptBatch:
        """Returns the prompts of histories `[B, L]` int64 (at least one item, right-padded with 0), on their device."""
        rows, places = [], []
        for items in history.tolist():
            ids, own = list(self.before), [0] * len(self.before)
            for number, item in enumerate(item for item in items if item):
                start = len(ids)
                ids += self.comma * (number > 0)
                ids += self.pieces[item]
                own += [number] * (len(ids) - start)
            rows.append(ids)
            places.append(own)
        longest, behind = max(map(len, rows)), history.shape[1]
        token_ids = torch.tensor([row + [PADDING_ID] * (longest - len(row)) for row in rows])
        place = torch.tensor([row + [behind] * (longest - len(row)) for row in places])
        return UserPromptBatch(token_ids.to(history.device), history[history > 0], place.to(history.device))


def block_causal_mask(place: Tensor) -> Tensor:
    """Who may attend to whom where an encoder reads prefixes: a token sees its own item's tokens and all before them.

    Within a title attention goes both ways, as the encoder learned it; across titles it goes backwards only. Real
    tokens never see padding, whose place is behind theirs.

    Args:
        place: `[B, T]` int64, see `UserPromptBatch`.

    Returns:
        `[B, 1, T, T]` bool, True = row may attend to column.
    """
    return (place.unsqueeze(1) <= place.unsqueeze(2)).unsqueeze(1)
