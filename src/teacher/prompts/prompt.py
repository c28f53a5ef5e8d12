"""From a history of item numbers to the token ids of a prompt with real titles and marker positions."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from ...core.errors import UserError
from .templates import HISTORY
from .tokens import compact, token_ids

MARKER = "[HistoryEmb]"

# No token of any vocabulary: at such a position the model puts the item's own projected embedding.
MARKER_ID = -1
PADDING_ID = -2


@dataclass(frozen=True)
class PromptBatch:
    """Prompts of one batch, right-padded to the longest.

    token_ids: `[B, T]` int64, `MARKER_ID` at markers, `PADDING_ID` at padding.
    marked_items: `[markers]` int64 item numbers, in the order of the markers read row by row.
    """

    token_ids: Tensor
    marked_items: Tensor


class PromptBuilder:
    """Fills a template with `Title [HistoryEmb], Title [HistoryEmb], …`, the newest items of the history.

    Each title is tokenised once; a prompt is put together from the pieces.

    Args:
        tokenizer: The language model's.
        template: Text with `[HistoryHere]` once.
        titles: Title of item j + 1 at index j.
        prompt_items: The most items a prompt shows; the oldest go first.
        title_tokens: The most tokens of one title.
        max_tokens: The most tokens of a prompt. The oldest items go until it fits; the template's words never do.

    Raises:
        UserError: The template has no place for the history, a title is empty, or the template and one item do not fit.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        template: str,
        titles: Sequence[str],
        prompt_items: int,
        title_tokens: int,
        max_tokens: int,
    ) -> None:
        if template.count(HISTORY) != 1:
            raise UserError(
                f"The prompt template must hold {HISTORY} exactly once: without titles a teacher learns nothing."
            )
        untitled = [item for item, title in enumerate(titles, start=1) if not title.strip()]
        if untitled:
            raise UserError(
                f"Item {untitled[0]} has no title, so no prompt can show it: give it one in the dataset's item file."
            )
        before, after = template.strip().split(HISTORY)
        words = tokenizer([before.rstrip(), after.rstrip(), ","], add_special_tokens=False).input_ids
        opening, closing = special_tokens_around(tokenizer)
        self.before = opening + words[0]
        self.after = words[1] + closing
        self.separator = words[2]
        ids = token_ids(tokenizer, [f" {title}" for title in titles], add_special_tokens=False)
        self.pieces = [compact([]), *(compact([*title[:title_tokens], MARKER_ID]) for title in ids)]
        self.prompt_items = prompt_items
        self.piece_lengths = torch.tensor([len(piece) for piece in self.pieces])
        self.max_tokens = max_tokens
        self.fixed = len(self.before) + len(self.after)
        longest = self.fixed + int(self.piece_lengths.max())
        if longest > max_tokens:
            raise UserError(
                f"The template and one title take up to {longest} tokens, but a prompt may have {max_tokens}: shorten "
                "the template (conf/prompts), lower teacher.prompt.title_tokens or raise teacher.prompt.max_tokens."
            )

    def lengths(self, history: Tensor) -> Tensor:
        """Returns the tokens of each prompt, `[B]` int64 on the CPU, for histories `[B, L]`, without building it."""
        shown = self._shown(history.cpu())
        items = (shown > 0).sum(1)
        return self.fixed + self.piece_lengths[shown].sum(1) + (items - 1).clamp(min=0) * len(self.separator)

    def build(self, history: Tensor) -> PromptBatch:
        """Returns the prompts of histories `[B, L]` int64 (right-padded with 0, oldest first), on their device."""
        shown = self._shown(history.cpu())
        rows = [self._ids([item for item in row if item]) for row in shown.tolist()]
        longest = max(map(len, rows))
        token_ids = torch.tensor([row + [PADDING_ID] * (longest - len(row)) for row in rows])
        return PromptBatch(token_ids.to(history.device), shown[shown > 0].to(history.device))

    def _shown(self, history: Tensor) -> Tensor:
        """The newest items of each history that a prompt has room for, right-padded, `[B, prompt_items]`."""
        length = (history > 0).sum(1, keepdim=True)
        back = torch.arange(min(self.prompt_items, history.shape[1]))  # 0 = the newest item
        newest = history.gather(1, (length - 1 - back).clamp(min=0)).where(back < length, 0)
        separators = len(self.separator) * (back > 0)
        tokens = self.fixed + (self.piece_lengths[newest] + separators).cumsum(1)
        room = ((tokens <= self.max_tokens) & (newest > 0)).sum(1, keepdim=True)
        place = length - room + torch.arange(self.prompt_items)
        padded = torch.nn.functional.pad(history, (0, self.prompt_items))
        return padded.gather(1, place).where(place < length, 0)

    def _ids(self, items: list[int]) -> list[int]:
        ids = list(self.before)
        for place, item in enumerate(items):
            ids += self.separator * (place > 0)
            ids += self.pieces[item]
        return ids + self.after


def text_of(token_ids: list[int], tokenizer: PreTrainedTokenizerBase) -> str:
    """Returns the text of tokens."""
    return cast("str", tokenizer.decode(token_ids))  # a list of texts only where several are asked for


def special_tokens_around(tokenizer: PreTrainedTokenizerBase) -> tuple[list[int], list[int]]:
    """Returns the ids that the tokenizer puts before and behind a text, e.g. `([CLS], [SEP])` or `([BOS], [])`."""
    bare = tokenizer("a", add_special_tokens=False).input_ids
    whole = tokenizer("a").input_ids
    cut = next(place for place in range(len(whole)) if whole[place : place + len(bare)] == bare)
    return whole[:cut], whole[cut + len(bare) :]
