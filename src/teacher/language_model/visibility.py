"""What a token of a language model may see, asked of the model itself: its files may say otherwise, or nothing."""

from typing import cast

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

VISIBLE = 1e-4  # share of a changed token's own change; a token that cannot see it does not change at all
HALF = 3  # tokens of each half of a probe


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


@torch.no_grad()
def _changes(model: PreTrainedModel, mask: Tensor) -> list[tuple[bool, bool]]:
    """Returns whether the states of each half of a short text change when its first half does, and its second."""
    dropping = [module for module in model.modules() if module.training]
    words = cast("nn.Embedding", model.get_input_embeddings()).weight
    places = torch.arange(2 * HALF)
    ids = torch.stack([places, *(torch.where(places // HALF == half, places + 2 * HALF, places) for half in (0, 1))])
    ids = 1 + ids * (len(words) - 2) // (4 * HALF - 1)  # from all over the vocabulary
    model.eval()
    states = model(inputs_embeds=words[ids.to(words.device)], attention_mask=mask.to(words.device)).last_hidden_state
    for module in dropping:
        module.training = True
    change = (states[1:] - states[0]).float().abs().amax(2).unflatten(1, (2, HALF)).amax(2)  # [2, halves]
    seen = change > VISIBLE * change.amax(1, keepdim=True)
    return [(bool(first), bool(second)) for first, second in seen]
