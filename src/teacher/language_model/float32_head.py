"""A causal language model's output head in float32, where titles are compared."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedModel

from ...core.precision import float32_scores


class Float32Head(nn.Module):
    """The product of an output head in float32, whatever its weights and autocast are; `VOCABULARY` rows at a time, so
    that no whole copy of bf16 weights is made.
    """

    VOCABULARY = 1 << 15

    def __init__(self, head: nn.Linear) -> None:
        super().__init__()
        self.head = head
        self.bias = head.bias  # which some models hold beside their head, and look up here

    def forward(self, hidden: Tensor) -> Tensor:
        """`[..., d]` to `[..., V]` float32."""
        with float32_scores(hidden.device):
            rows = self.head.weight.split(self.VOCABULARY)
            logits = torch.cat([F.linear(hidden.float(), part.float()) for part in rows], dim=-1)
            return logits if self.bias is None else logits + self.bias.float()


@contextmanager
def float32_logits(language_model: PreTrainedModel) -> Iterator[None]:
    """Within this context titles are compared by float32 log-probabilities: in bf16 similar ones would tie."""
    head = cast("nn.Linear", language_model.get_output_embeddings())  # to Transformers, any Module
    language_model.set_output_embeddings(Float32Head(head))
    try:
        yield
    finally:
        language_model.set_output_embeddings(head)
