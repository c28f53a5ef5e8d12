"""What a token of a language model may see, asked of the model itself: its files may say otherwise, or nothing."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from ...core.errors import UserError

VISIBLE = 1e-4  # share of a changed token's own change; a token that cannot see it does not change at all
HALF = 3  # tokens of each half of a probe
LEAST, MOST = 1e-4, 0.2  # rounding at the least, and at the most, whatever else was measured; see `is_near`


@contextmanager
def asking(model: PreTrainedModel, instead: str) -> Iterator[None]:
    """Within this context a model is asked what it can do; one that cannot be asked is refused in a sentence.

    Args:
        model: Is named.
        instead: What to do.

    Raises:
        UserError: Anything was raised within: models raise whatever they like.
    """
    try:
        yield
    except (UserError, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        said = str(error).strip().splitlines()
        reason = f"{type(error).__name__}: {said[0]}" if said else type(error).__name__
        raise UserError(f"{type(model).__name__} cannot be read as needed here ({reason}): {instead}.") from error


@contextmanager
def at_rest(model: PreTrainedModel) -> Iterator[None]:
    """Within this context nothing of `model` is dropped at random, and no gradient is kept."""
    dropping = [module for module in model.modules() if module.training]
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module in dropping:
            module.training = True


def is_causal(model: PreTrainedModel) -> bool:
    """Whether no token of `model` sees a later one.

    Args:
        model: Without output head, its adapters, if any, at rest.
    """
    _, by_second = _changes(model, torch.ones(3, 2 * HALF, dtype=torch.long))
    return by_second == (False, True)


def keeps_to_mask(model: PreTrainedModel, additive: bool) -> bool:
    """Whether tokens of `model` see nothing that a mask hides from them, neither earlier nor later ones.

    Some kinds of attention take truth values for numbers to be added, or overlook masks of this shape.

    Args:
        model: As in `is_causal`.
        additive: Asks for masks `[B, 1, T, T]` float, to be added to the attention's scores; else bool, True = row may
            attend to column.
    """
    half = torch.arange(2 * HALF) // HALF
    mask = (half == half.unsqueeze(1)).expand(3, 1, -1, -1)
    if additive:
        mask = torch.zeros(mask.shape, dtype=model.dtype).masked_fill(~mask, torch.finfo(model.dtype).min)
    return _changes(model, mask) == [(True, False), (False, True)]


def _changes(model: PreTrainedModel, mask: Tensor) -> list[tuple[bool, bool]]:
    """Returns whether the states of each half of a short text change when its first half does, and its second."""
    words = cast("nn.Embedding", model.get_input_embeddings()).weight
    places = torch.arange(2 * HALF)
    ids = torch.stack([places, *(torch.where(places // HALF == half, places + 2 * HALF, places) for half in (0, 1))])
    ids = 1 + ids * (len(words) - 2) // (4 * HALF - 1)  # from all over the vocabulary
    with at_rest(model):
        read = model(inputs_embeds=words[ids.to(words.device)], attention_mask=mask.to(words.device))
    states = read.last_hidden_state
    change = (states[1:] - states[0]).float().abs().amax(2).unflatten(1, (2, HALF)).amax(2)  # [2, halves]
    seen = change > VISIBLE * change.amax(1, keepdim=True)
    return [(bool(first), bool(second)) for first, second in seen]


def masks_agree(model: PreTrainedModel, tokens: int) -> bool:
    """Whether `model` reads a text under a mask `[B, 1, T, T]` that hides nothing as it does by itself.

    It does not where its own attention has a window shorter than the text: such a mask takes the window's place.

    Args:
        model: An encoder, as in `is_causal`.
        tokens: Of the text.
    """
    tokens = max(tokens, 2 * HALF)
    words = cast("nn.Embedding", model.get_input_embeddings()).weight
    text = words[torch.arange(tokens, device=words.device) % len(words)].unsqueeze(0)
    real = (torch.arange(tokens, device=words.device) < tokens - HALF).unsqueeze(0)
    with at_rest(model):
        padded = model(inputs_embeds=text, attention_mask=real.long()).last_hidden_state[real]
        text, real = text[:, real[0]], real[:, real[0]]
        own, masked = (
            model(inputs_embeds=text, attention_mask=mask).last_hidden_state[0]
            for mask in (real.long(), (real.unsqueeze(2) & real.unsqueeze(1)).unsqueeze(1))
        )
    return is_near(masked, own, padded, model.dtype)


def is_near(found: Tensor, expected: Tensor, again: Tensor, dtype: torch.dtype) -> bool:
    """Whether two readings differ by no more than rounding: root mean squares, as shares of the spread.

    Args:
        found, expected: `[..., d]`, the same in two ways.
        again: `[..., d]`, what is expected once more, by other sums of the model's own: rounding, measured.
        dtype: That of the model's weights.
    """
    rounding = max(LEAST, torch.finfo(dtype).eps, 4 * _distance(again, expected))
    return _distance(found, expected) <= min(rounding, MOST)


def _distance(one: Tensor, other: Tensor) -> float:
    return float((one.float() - other.float()).square().mean().sqrt() / other.float().std())
