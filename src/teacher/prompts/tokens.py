"""Texts as token ids, for as many texts as a catalogue has items."""

from array import array
from collections.abc import Iterable, Sequence
from typing import Any

from transformers import PreTrainedTokenizerBase

AT_ONCE = 2**13  # texts: a fast tokenizer tells kilobytes of each besides (words, offsets, masks)


def compact(ids: Iterable[int]) -> "array[int]":
    """Returns token ids at 4 bytes each, of which a list takes 36."""
    return array("i", ids)


def token_ids(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], **how: Any) -> "list[array[int]]":
    """Returns the token ids of each text.

    Args:
        tokenizer: Of the language model.
        texts: Any number.
        how: Further arguments of the tokenizer.
    """
    found: list[array[int]] = []
    for first in range(0, len(texts), AT_ONCE):
        found += map(compact, tokenizer(list(texts[first : first + AT_ONCE]), **how).input_ids)
    return found
