"""What the frozen language model makes of each item's text, before anything is trained."""

from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ...core.precision import best_device
from ...data.batches import token_batches
from ..prompts.tokens import compact, token_ids
from ..settings import TeacherSettings
from .loading import load_language_model, resolve_pooling, without_head


def item_encodings(settings: TeacherSettings, texts: list[str], language_models_dir: Path) -> Tensor:
    """Returns `[num_items, d_llm]` float32 encodings of the items' `texts`, all of one length.

    Args:
        settings: Key `teacher`: its language model, how it is pooled, and how many tokens of a text it reads.
        texts: Of the items, in the order of their numbers.
        language_models_dir: Where language models lie.

    Raises:
        UserError: The language model is not to be had.
    """
    language_model, tokenizer = load_language_model(settings.llm, language_models_dir, head=False)
    return of_one_length(encodings_of(texts, settings, language_model, tokenizer))


def of_one_length(encodings: Tensor) -> Tensor:
    """Returns encodings `[n, d]` scaled to the length √d each, which random vectors of variance one have; float32."""
    return F.normalize(encodings.float(), dim=1) * encodings.shape[1] ** 0.5


def encodings_of(
    texts: list[str], settings: TeacherSettings, language_model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase
) -> Tensor:
    """Returns `[n, d_llm]` float32 encodings of texts by a language model that has no adapters yet; it computes where
    it will be trained (`best_device`), and is put back.
    """
    pooling = resolve_pooling(settings.llm.pooling, language_model)
    ids = token_ids(tokenizer, texts, truncation=True, max_length=settings.prompt.text_tokens)
    where = language_model.device
    if where.type == "cpu":  # one in 4 bits is on its GPU already, and cannot be moved
        language_model.to(best_device())  # type: ignore[arg-type]  # Transformers' decorator hides nn.Module's types
    encoded = encode_texts(without_head(language_model), ids, pooling, settings.eval_tokens)
    if where.type == "cpu":
        language_model.to(where)  # type: ignore[arg-type]
    return encoded


@torch.no_grad()
def encode_texts(
    language_model: PreTrainedModel, texts: Sequence[Sequence[int]], pooling: str, max_tokens: int
) -> Tensor:
    """Returns `[n, d_llm]` float32: each text's mean (or last) hidden state, each distinct text encoded once.

    Args:
        language_model: Without adapters.
        texts: Tokens of each, special tokens included.
        pooling: "mean" or "last".
        max_tokens: Padded tokens of one forward pass.
    """
    row_of: dict[bytes, int] = {}
    rows_of_texts = [row_of.setdefault(compact(ids).tobytes(), len(row_of)) for ids in texts]
    distinct = {row: ids for row, ids in zip(rows_of_texts, texts, strict=True)}
    del row_of
    encoded = torch.empty(len(distinct), language_model.config.hidden_size)
    lengths = torch.tensor([len(distinct[row]) for row in range(len(distinct))])
    for rows in token_batches(lengths, max_tokens):
        longest = max(1, int(lengths[rows].max()))  # a tokenizer may make no token of an empty text
        ids = torch.tensor([[*distinct[row], *[0] * (longest - len(distinct[row]))] for row in rows.tolist()])
        attended = torch.arange(longest) < lengths[rows].unsqueeze(1)
        ids, attended = ids.to(language_model.device), attended.to(language_model.device)  # 4-bit models are on a GPU
        hidden = language_model(input_ids=ids, attention_mask=attended.long()).last_hidden_state.float()
        encoded[rows] = pool(hidden, attended, pooling).cpu()
    return encoded[torch.tensor(rows_of_texts)]


def pool(hidden: Tensor, attended: Tensor, pooling: str) -> Tensor:
    """Returns `[B, d]`: the mean over attended positions, or the last attended one, of `hidden [B, T, d]`; zeros where
    there is none, as of an empty text whose tokenizer adds nothing.
    """
    if pooling == "last":
        pooled = hidden[torch.arange(len(hidden)), attended.sum(1) - 1]
    else:
        weights = attended.to(hidden.dtype).unsqueeze(-1)
        pooled = (hidden * weights).sum(1) / weights.sum(1)
    return pooled.where(attended.any(1, keepdim=True), 0)
