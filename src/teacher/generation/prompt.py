"""Prompts of the generation objective: a history, candidates to choose from, and the title that is the answer."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from ...core.errors import UserError
from ..prompts.prompt import MARKER_ID, PADDING_ID, special_tokens_around
from ..prompts.templates import CANDIDATES, HISTORY


@dataclass(frozen=True)
class ChoicePrompts:
    """Prompts of one batch, padded on the left, so that all answers begin in the same column.

    token_ids: `[B, P]` int64, `MARKER_ID` at markers, `PADDING_ID` at padding.
    marked_items: `[markers]` int64 item numbers, in the order of the markers read row by row.
    """

    token_ids: Tensor
    marked_items: Tensor


class ChoicePromptBuilder:
    """Fills templates with `Title [HistoryEmb], …` and `Title [CansEmb], …`, or with the titles alone.

    Args:
        tokenizer: The language model's; it must know an end of text.
        templates: Each holds `[HistoryHere]` and, behind it, `[CansHere]`, once.
        titles: Title of item j + 1 at index j.
        prompt_items: The most items of the history that a prompt shows; the oldest go first.
        title_tokens: The most tokens of one title, in prompts and answers.
        max_tokens: The most tokens of a prompt. The oldest items of the history go until it fits.

    Raises:
        UserError: A template lacks a place, or the tokenizer an end of text.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        templates: Sequence[str],
        titles: Sequence[str],
        prompt_items: int,
        title_tokens: int,
        max_tokens: int,
    ) -> None:
        if tokenizer.eos_token_id is None:
            raise UserError(
                f"The tokenizer of {tokenizer.name_or_path} has no end of text, so no answer could end: the generation "
                "objective needs a causal language model (teacher/llm=gemma_2b_it, for example)."
            )
        self.templates = [self._parts(tokenizer, template) for template in templates]
        self.separator = tokenizer(",", add_special_tokens=False).input_ids
        ids = tokenizer([f" {title}" for title in titles], add_special_tokens=False).input_ids
        self.titles = [[], *(title[:title_tokens] for title in ids)]
        self.answers = [[], *([*title, tokenizer.eos_token_id] for title in self.titles[1:])]
        self.prompt_items = prompt_items
        self.max_tokens = max_tokens

    @staticmethod
    def _parts(tokenizer: PreTrainedTokenizerBase, template: str) -> list[list[int]]:
        """Tokens before the history, between it and the candidates, and behind them."""
        before, _, rest = template.strip().partition(HISTORY)
        between, _, after = rest.partition(CANDIDATES)
        if template.count(HISTORY) != 1 or rest.count(CANDIDATES) != 1:
            raise UserError(
                f'The prompt template "{template.strip()[:80]}" must hold {HISTORY} and behind it {CANDIDATES}, '
                "each once."
            )
        opening, _ = special_tokens_around(tokenizer)  # what closes a text would end the answer before it began
        words = [tokenizer(part.rstrip(), add_special_tokens=False).input_ids for part in (before, between, after)]
        return [opening + words[0], words[1], words[2]]

    def longest(self, candidates: int) -> int:
        """Returns the most tokens that a prompt of so many candidates can have."""
        words = max(sum(map(len, parts)) for parts in self.templates)
        title = max(map(len, self.titles)) + 1 + len(self.separator)
        return min(self.max_tokens, words + (self.prompt_items + candidates) * title)

    def build(self, history: Tensor, candidates: Tensor, template: int, with_markers: bool) -> ChoicePrompts:
        """Returns the prompts of histories `[B, L]` (right-padded with 0) with candidates `[B, C]`, on their device.

        Args:
            history, candidates: Item numbers.
            template: Which of the templates.
            with_markers: False: titles alone, as in the early part of the curriculum.

        Raises:
            UserError: A template, its candidates and one item do not fit into `max_tokens`.
        """
        rows, marked = [], []
        for items, choices in zip(history.tolist(), candidates.tolist(), strict=True):
            shown = [item for item in items if item][-self.prompt_items :]
            row = self._row(shown, choices, template, with_markers)
            while len(row) > self.max_tokens and len(shown) > 1:
                shown = shown[1:]
                row = self._row(shown, choices, template, with_markers)
            if len(row) > self.max_tokens:
                raise UserError(
                    f"{len(choices)} candidates and one item of the history take {len(row)} tokens, but a prompt may "
                    f"have {self.max_tokens}: lower teacher.prompt.title_tokens or teacher.generation.candidates."
                )
            rows.append(row)
            marked += [*shown, *choices] if with_markers else []
        longest = max(map(len, rows))
        token_ids = torch.tensor([[PADDING_ID] * (longest - len(row)) + row for row in rows])
        return ChoicePrompts(
            token_ids.to(history.device), torch.tensor(marked, dtype=torch.long, device=history.device)
        )

    def build_answers(self, items: Tensor) -> Tensor:
        """Returns `[B, A]` int64, the title of each item `[B]` and the end of text, `PADDING_ID` behind."""
        rows = [self.answers[item] for item in items.tolist()]
        longest = max(map(len, rows))
        return torch.tensor([row + [PADDING_ID] * (longest - len(row)) for row in rows], device=items.device)

    def _row(self, shown: list[int], choices: list[int], template: int, with_markers: bool) -> list[int]:
        before, between, after = self.templates[template]
        return [*before, *self._list(shown, with_markers), *between, *self._list(choices, with_markers), *after]

    def _list(self, items: list[int], with_markers: bool) -> list[int]:
        marker = [MARKER_ID] if with_markers else []
        pieces = [[*self.separator * (place > 0), *self.titles[item], *marker] for place, item in enumerate(items)]
        return list(chain.from_iterable(pieces))
