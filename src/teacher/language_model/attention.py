"""Attention of short prompts on a CPU in bf16, for training: PyTorch's fused kernel is slow backwards there."""

from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

NAME = "sdpa_or_plain"
SHORT = 256  # tokens; longer prompts are faster in the fused kernel (benchmarks/README.md)


def use_plain_attention(model: PreTrainedModel) -> None:
    """Lets `model` train on short prompts by plain products where that is faster; it gives the same up to rounding."""
    if model.config._attn_implementation == "sdpa":
        model.set_attn_implementation(NAME)


def attention(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **settings: Any
) -> tuple[Tensor, None]:
    """Transformers' attention by `torch.nn.functional.scaled_dot_product_attention`, or by plain products.

    Args:
        module: The layer that asks.
        query, key, value: `[B, heads, T, d]`.
        attention_mask: `[B, 1, T, T]` bool, True = row may attend to column; None: all may, or the mask is causal.
        settings: As Transformers hands them on.

    Returns:
        `[B, T, heads, d]`, and no weights.
    """
    if not _is_plain_faster(module, query, key, attention_mask, settings):
        return sdpa_attention_forward(module, query, key, value, attention_mask, **settings)
    scores = (query * settings.get("scaling", query.shape[3] ** -0.5)) @ key.transpose(2, 3)
    if attention_mask is not None:
        scores.masked_fill_(~attention_mask, torch.finfo(scores.dtype).min)
    weights = nn.functional.dropout(scores.softmax(-1), settings.get("dropout", 0.0), module.training)
    return (weights @ value).transpose(1, 2).contiguous(), None


def _is_plain_faster(
    module: nn.Module, query: Tensor, key: Tensor, mask: Tensor | None, settings: dict[str, Any]
) -> bool:
    """Whether a gradient is wanted where the fused kernel is slow, and nothing is asked for that is not done here."""
    slow = torch.is_grad_enabled() and query.dtype == torch.bfloat16 and query.device.type == "cpu"
    told = settings.get("is_causal")
    causal = mask is None and (module.is_causal if told is None else told)
    known = not causal and (mask is None or mask.dtype == torch.bool) and query.shape == key.shape
    more = any(settings.get(name) is not None for name in ("position_bias", "softcap"))
    return slow and known and not more and query.shape[2] <= SHORT


AttentionInterface.register(NAME, attention)
AttentionMaskInterface.register(NAME, sdpa_mask)
