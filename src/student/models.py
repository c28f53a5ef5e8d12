"""Sequential recommenders by item numbers. Only the encoder varies: the item table and the scoring are shared."""

from abc import ABC, abstractmethod
from typing import ClassVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..core.precision import float32_scores
from .dropout import Dropout
from .embedding import INITIAL_STD, ItemEmbedding
from .settings import GRU4RecSettings, ModelSettings, SASRecSettings


class SequentialRecommender(nn.Module, ABC):
    """Reads a history of item numbers and scores the catalogue by the dot product with the (tied) item table.

    Args:
        num_items: Size of the catalogue.
        hidden_size: D, width of item vectors and hidden states.
        history_length: L, the most items it reads.
    """

    Settings: ClassVar[type[ModelSettings]]  # of `student.model`
    causal: ClassVar[bool] = True  # `encode` gives a state for every position: all can be trained at once

    def __init__(self, num_items: int, hidden_size: int, history_length: int) -> None:
        super().__init__()
        self.num_items = num_items
        self.history_length = history_length
        self.items = ItemEmbedding(num_items, hidden_size)

    def item_table(self) -> Tensor:
        """Returns `[num_items + 1, D]`; row 0 is padding."""
        return self.items.table()

    @abstractmethod
    def encode(self, history: Tensor) -> Tensor:
        """Returns hidden states, `[B, L, D]` where every position is causal, or `[B, 1, D]` for the whole history.

        Args:
            history: `[B, L]` int64, oldest first, right-padded with 0. Positions of padding hold unspecified values.
        """

    def output_layer(self) -> tuple[Tensor, Tensor | None]:
        """Returns the weights `[num_items, D]` and the bias `[num_items]` or None of the scores, by item from 1 on."""
        return self.item_table()[1:], None

    def output_rows(self, items: Tensor) -> tuple[Tensor, Tensor | None]:
        """Returns the weights `[..., D]` and the bias `[...]` or None of items `[...]` int64, from 1 on."""
        return self.items.lookup(items), None

    def score(self, hidden: Tensor, items: Tensor | None = None) -> Tensor:
        """Returns scores of hidden states `[..., D]`.

        Args:
            hidden: `[..., D]` float.
            items: Item numbers, `[n]` common to all states or `[..., n]` each state's own; None: the whole catalogue.

        Returns:
            `[..., n]`, or `[..., num_items]` where column j is item j + 1.
        """
        if items is None:
            weight, bias = self.output_layer()
            return F.linear(hidden, weight, bias)
        weight, bias = self.output_rows(items)
        scores = hidden @ weight.T if items.dim() == 1 else torch.einsum("...d,...nd->...n", hidden, weight)
        return scores if bias is None else scores + bias

    def user_representation(self, history: Tensor) -> Tensor:
        """Returns `[B, D]`: the hidden state after the last item of each history `[B, L]` (at least one item each)."""
        hidden = self.encode(history)
        if hidden.shape[1] == 1:
            return hidden[:, 0]
        return last_state(hidden, history)[:, 0]

    def predict(self, history: Tensor) -> Tensor:
        """Returns `[B, num_items]` float32 scores for the next item after each history `[B, L]`: what ranks."""
        with float32_scores(history.device):
            return self.score(self.user_representation(history))


def last_state(states: Tensor, history: Tensor) -> Tensor:
    """Returns `[B, 1, D]`: of states `[B, L, D]` those at the last item of each history `[B, L]`."""
    last = (history > 0).sum(1) - 1
    return states[torch.arange(len(states), device=states.device), last].unsqueeze(1)


class SASRec(SequentialRecommender):
    """Self-attentive sequential recommendation (Kang & McAuley 2018), pre-norm, causal at every position.

    Padding stands on the right, so the causal mask alone keeps it from every real position.

    Args:
        num_items, hidden_size, history_length: See `SequentialRecommender`.
        num_blocks: Transformer blocks.
        num_heads: Attention heads; divides `hidden_size`.
        dropout: Share of inputs and of each block's two outputs dropped in training; no attention weight is.
    """

    Settings = SASRecSettings

    def __init__(
        self, num_items: int, hidden_size: int, history_length: int, num_blocks: int, num_heads: int, dropout: float
    ) -> None:
        super().__init__(num_items, hidden_size, history_length)
        self.positions = nn.Embedding(history_length, hidden_size)
        nn.init.normal_(self.positions.weight, std=INITIAL_STD)
        self.dropout = Dropout(dropout)
        self.blocks = nn.ModuleList(CausalBlock(hidden_size, num_heads, dropout) for _ in range(num_blocks))
        self.norm = nn.LayerNorm(hidden_size)

    def encode(self, history: Tensor) -> Tensor:
        """See `SequentialRecommender.encode`; returns `[B, L, D]`."""
        x = self._inputs(history)
        for block in self.blocks:
            x = block(x)
        return self.norm(x)

    def user_representation(self, history: Tensor) -> Tensor:
        """See `SequentialRecommender.user_representation`; the last block computes the one state that is asked for."""
        x = self._inputs(history)
        for block in self.blocks[:-1]:
            x = block(x)
        last_block = cast("CausalBlock", self.blocks[-1])  # a ModuleList forgets what it holds
        return self.norm(last_block.last(x, history))[:, 0]

    def _inputs(self, history: Tensor) -> Tensor:
        return self.dropout(self.items.lookup(history) + self.positions.weight[: history.shape[1]])


class CausalBlock(nn.Module):
    """`x + Attention(LN(x))`, then `x + FFN(LN(x))`, `FFN(x) = W2 GELU(W1 x + b1) + b2`; `[B, L, D]` to `[B, L, D]`."""

    def __init__(self, hidden_size: int, num_heads: int, dropout: float) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.norm_attention = nn.LayerNorm(hidden_size)
        self.qkv = nn.Linear(hidden_size, 3 * hidden_size)
        self.out = nn.Linear(hidden_size, hidden_size)
        self.norm_feed_forward = nn.LayerNorm(hidden_size)
        self.feed_forward = nn.Sequential(
            nn.Linear(hidden_size, hidden_size), nn.GELU(), nn.Linear(hidden_size, hidden_size)
        )
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (self._heads(part) for part in self.qkv(self.norm_attention(x)).chunk(3, dim=-1))
        return self._output(x, F.scaled_dot_product_attention(q, k, v, is_causal=True))

    def last(self, x: Tensor, history: Tensor) -> Tensor:
        """Returns `[B, 1, D]`, `forward` at the last item of each history `[B, L]` alone: one query, one output."""
        normed = self.norm_attention(x)
        width = x.shape[-1]
        query = F.linear(last_state(normed, history), self.qkv.weight[:width], self.qkv.bias[:width])
        key_value = F.linear(normed, self.qkv.weight[width:], self.qkv.bias[width:])
        q, k, v = (self._heads(part) for part in (query, *key_value.chunk(2, dim=-1)))
        real = (history > 0)[:, None, None]  # [B, 1, 1, L]
        return self._output(last_state(x, history), F.scaled_dot_product_attention(q, k, v, attn_mask=real))

    def _heads(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)  # [B, heads, L, D/heads]

    def _output(self, x: Tensor, mixed: Tensor) -> Tensor:
        x = x + self.dropout(self.out(mixed.transpose(1, 2).flatten(2)))
        return x + self.dropout(self.feed_forward(self.norm_feed_forward(x)))


class GRU4Rec(SequentialRecommender):
    """Recurrent sequential recommendation (Hidasi et al. 2016): `h_t = W GRU(e_1 … e_t) + b`, causal by construction.

    Args:
        num_items, hidden_size, history_length: See `SequentialRecommender`.
        num_layers: Stacked GRU layers.
        dropout: Share of item vectors and of the last GRU layer's outputs dropped in training.
    """

    Settings = GRU4RecSettings

    def __init__(self, num_items: int, hidden_size: int, history_length: int, num_layers: int, dropout: float) -> None:
        super().__init__(num_items, hidden_size, history_length)
        self.dropout = Dropout(dropout)
        self.gru = nn.GRU(hidden_size, hidden_size, num_layers, batch_first=True)
        self.out = nn.Linear(hidden_size, hidden_size)

    def encode(self, history: Tensor) -> Tensor:
        """See `SequentialRecommender.encode`; returns `[B, L, D]`."""
        hidden, _ = self.gru(self.dropout(self.items.lookup(history)))
        return self.out(self.dropout(hidden))
