"""Causal self-attention blocks, and the ways in which they may know where an item stands."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..settings import Positions
from .dropout import Dropout
from .embedding import INITIAL_STD

ROTARY_BASE = 10_000.0


def last_place(history: Tensor) -> Tensor:
    """Returns `[B]` int64: the place of the last item of each history `[B, L]`, right-padded with 0."""
    return (history > 0).sum(1) - 1


def last_state(states: Tensor, history: Tensor) -> Tensor:
    """Returns `[B, 1, D]`: of states `[B, L, D]` those at the last item of each history `[B, L]`."""
    return states[torch.arange(states.shape[0], device=states.device), last_place(history)].unsqueeze(1)


class CausalBlock(nn.Module):
    """`x + Attention(LN(x))`, then `x + FFN(LN(x))`, `FFN(x) = W2 GELU(W1 x + b1) + b2`; `[B, L, D]` to `[B, L, D]`.

    Args:
        hidden_size: D.
        num_heads: Divides D.
        dropout: Share of the block's two outputs dropped in training.
        positions: "rotary" turns queries and keys by their places (RoPE, Su et al. 2021), "relative_bias" adds a
            learned number per head and distance to each attention score (as T5 does, Raffel et al. 2020, but one number
            for each distance); with any other value attention itself knows no places.
        history_length: L, the largest distance plus one.
    """

    def __init__(
        self, hidden_size: int, num_heads: int, dropout: float, positions: Positions, history_length: int
    ) -> None:
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
        self.rotary = positions == "rotary"
        self.bias = None
        if positions == "relative_bias":
            self.bias = nn.Parameter(torch.randn(num_heads, history_length) * INITIAL_STD)

    def forward(self, x: Tensor) -> Tensor:
        return self._fed_forward(x + self.mix(self.norm_attention(x)))

    def last(self, x: Tensor, history: Tensor) -> Tensor:
        """Returns `[B, 1, D]`, `forward` at the last item of each history `[B, L]` alone: one query, one output."""
        return self._fed_forward(last_state(x, history) + self.mix_last(self.norm_attention(x), history))

    def mix(self, normed: Tensor) -> Tensor:
        """Returns `[B, L, D]`: what each position takes from itself and those before it."""
        q, k, v = (self._heads(part) for part in self.qkv(normed).chunk(3, dim=-1))
        places = torch.arange(normed.shape[1], device=normed.device)
        if self.rotary:
            q, k = turned(q, places), turned(k, places)
        if self.bias is None:
            return self._attended(F.scaled_dot_product_attention(q, k, v, is_causal=True))
        back = places.unsqueeze(1) - places  # [L, L], how far a key lies behind its query
        mask = self.bias[:, back.clamp(min=0)].masked_fill(back < 0, -torch.inf)  # [heads, L, L]
        return self._attended(F.scaled_dot_product_attention(q, k, v, attn_mask=mask))

    def mix_last(self, normed: Tensor, history: Tensor) -> Tensor:
        """Returns `[B, 1, D]`: `mix` at the last item of each history `[B, L]`."""
        width = normed.shape[-1]
        query = F.linear(last_state(normed, history), self.qkv.weight[:width], self.qkv.bias[:width])
        key_value = F.linear(normed, self.qkv.weight[width:], self.qkv.bias[width:])
        q, k, v = (self._heads(part) for part in (query, *key_value.chunk(2, dim=-1)))
        places, last = torch.arange(normed.shape[1], device=normed.device), last_place(history)
        if self.rotary:
            q, k = turned(q, last[:, None, None]), turned(k, places)
        mask = (history > 0)[:, None, None]  # [B, 1, 1, L]
        if self.bias is not None:
            back = (last.unsqueeze(1) - places).clamp(min=0)  # [B, L]
            bias = self.bias[:, back].transpose(0, 1).unsqueeze(2)  # [B, heads, 1, L]
            mask = bias.masked_fill(~mask, -torch.inf)
        return self._attended(F.scaled_dot_product_attention(q, k, v, attn_mask=mask))

    def _heads(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)  # [B, heads, L, D/heads]

    def _attended(self, heads: Tensor) -> Tensor:
        return self.dropout(self.out(heads.transpose(1, 2).flatten(2)))

    def _fed_forward(self, x: Tensor) -> Tensor:
        return x + self.dropout(self.feed_forward(self.norm_feed_forward(x)))


def turned(x: Tensor, places: Tensor) -> Tensor:
    """Returns `x [B, heads, n, d]` with each pair of features `(x_i, x_{i + d/2})` turned by `place · base^(-2i/d)`, so
    that products of two vectors depend on the difference of their places (RoPE; pairs as in GPT-NeoX).

    Args:
        x: d is even.
        places: int64, `[n]` or broadcast to `[B, heads, n]`.
    """
    half = x.shape[-1] // 2
    rate = ROTARY_BASE ** (-torch.arange(half, device=x.device) / half)
    angle = places.unsqueeze(-1) * rate
    cos, sin, first, second = angle.cos(), angle.sin(), x[..., :half], x[..., half:]
    return torch.cat([first * cos - second * sin, first * sin + second * cos], dim=-1)
