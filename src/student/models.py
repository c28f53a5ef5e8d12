"""Sequential recommenders by item numbers. Only the encoder varies: the item table and the scoring are shared."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..core.metrics import Scores
from ..core.precision import float32_scores
from ..data.rows import WindowBatch
from .layers.attention import CausalBlock, last_place, last_state
from .layers.dropout import Dropout
from .layers.embedding import INITIAL_STD, ItemEmbedding
from .settings import GRU4RecSettings, ModelSettings, Positions, SASRecSettings


class SequentialRecommender(nn.Module, ABC):
    """Reads a history of item numbers and scores the catalogue by the dot product with the (tied) item table.

    Args:
        num_items: Size of the catalogue.
        hidden_size: D, width of item vectors and hidden states.
        history_length: L, the most items it reads.
    """

    Settings: ClassVar[type[ModelSettings]]  # of `student.model`
    causal: bool = True  # `encode` gives a state for every position: all can be trained at once

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
        """Returns `[B, D]`: the hidden state after the last item of each history `[B, L]` (at least one item each).

        Histories of similar length are read together, so that almost no padding is computed: an encoder treats each
        history by itself, in training too.
        """
        lengths, order = (history > 0).sum(1).sort(descending=True)
        states, first, longest = [], 0, lengths.tolist()
        while first < len(longest):
            length = max(1, longest[first])
            rows = sum(2 * other >= longest[first] for other in longest[first:])
            states.append(self.last_states(history[order[first : first + rows], :length]))
            first += rows
        return torch.cat(states)[order.argsort()] if states else self.last_states(history)

    def states_of(self, batch: WindowBatch) -> Tensor:
        """Returns `[M, D]`: the hidden states of the M positions of `batch` that have a target, row by row."""
        if batch.target.shape[1] == 1:  # of the last position alone
            return self.user_representation(batch.history)
        return self.encode(batch.history)[batch.target > 0]

    def last_states(self, history: Tensor) -> Tensor:
        """Returns `[B, D]`: `user_representation` of histories `[B, L]` that are read at once."""
        hidden = self.encode(history)
        if hidden.shape[1] == 1:
            return hidden[:, 0]
        return last_state(hidden, history)[:, 0]

    def predict(self, history: Tensor) -> Tensor:
        """Returns `[B, num_items]` float32 scores for the next item after each history `[B, L]`: what ranks."""
        with float32_scores(history.device):
            return self.score(self.user_representation(history))

    def predictions(self, history: Tensor) -> Scores:
        """Returns `predict` of histories `[B, L]`, its rows made where they are asked for; at once by a student that
        scores or predicts in a way of its own.
        """
        own, common = type(self), SequentialRecommender
        if own.predict is not common.predict or own.score is not common.score:
            return self.predict(history)
        with float32_scores(history.device):
            return CatalogueScores(self.user_representation(history), *self.output_layer())


@dataclass(frozen=True)
class CatalogueScores:
    """Scores `[B, num_items]` float32 of states `[B, D]`, made row by row (`core.metrics.Scores`).

    weight, bias: `[num_items, D]` and `[num_items]` or None.
    """

    states: Tensor
    weight: Tensor
    bias: Tensor | None

    def __getitem__(self, rows: slice) -> Tensor:
        with float32_scores(self.states.device):
            return F.linear(self.states[rows], self.weight, self.bias)


class CausalTransformer(SequentialRecommender):
    """Item vectors through causal blocks and a last normalisation.

    Padding stands on the right, so the causal mask alone keeps it from every real position.

    Args:
        num_items, hidden_size, history_length: See `SequentialRecommender`.
        new_block: Makes a block; called once for each.
        num_blocks: How many.
        dropout: Share of inputs dropped in training.
        positions: "absolute" adds a learned vector per place from the oldest item read, "from_end" one per place from
            the newest; the others see `attention.CausalBlock`. Counted from the end, a position's input says how many
            items are still to come: such a student is not causal, and trained example by example.
    """

    def __init__(
        self,
        num_items: int,
        hidden_size: int,
        history_length: int,
        new_block: Callable[[], CausalBlock],
        num_blocks: int,
        dropout: float,
        positions: Positions,
    ) -> None:
        super().__init__(num_items, hidden_size, history_length)
        self.from_end = positions == "from_end"
        self.causal = not self.from_end
        self.positions = nn.Embedding(history_length, hidden_size) if positions in ("absolute", "from_end") else None
        if self.positions is not None:
            nn.init.normal_(self.positions.weight, std=INITIAL_STD)
        self.dropout = Dropout(dropout)
        self.blocks = nn.ModuleList(new_block() for _ in range(num_blocks))
        self.norm = nn.LayerNorm(hidden_size)

    def encode(self, history: Tensor) -> Tensor:
        """See `SequentialRecommender.encode`; returns `[B, L, D]`, but `[B, 1, D]` where places count from the end."""
        if self.from_end:
            return self.last_states(history).unsqueeze(1)
        x = self._inputs(history)
        for block in self.blocks:
            x = block(x)
        return self.norm(x)

    def last_states(self, history: Tensor) -> Tensor:
        """See `SequentialRecommender.last_states`; the last block computes the one state that is asked for."""
        x = self._inputs(history)
        for block in self.blocks[:-1]:
            x = block(x)
        last_block = cast("CausalBlock", self.blocks[-1])  # a ModuleList forgets what it holds
        return self.norm(last_block.last(x, history))[:, 0]

    def _inputs(self, history: Tensor) -> Tensor:
        x = self.items.lookup(history)
        if self.positions is not None:
            place = torch.arange(history.shape[1], device=history.device)
            if self.from_end:
                place = (last_place(history).unsqueeze(1) - place).clamp(min=0)
            x = x + self.positions(place)
        return self.dropout(x)


class SASRec(CausalTransformer):
    """Self-attentive sequential recommendation (Kang & McAuley 2018), pre-norm, causal at every position.

    Args:
        num_items, hidden_size, history_length: See `SequentialRecommender`.
        num_blocks: Transformer blocks.
        num_heads: Attention heads; divides `hidden_size`.
        dropout: Share of inputs and of each block's two outputs dropped in training; no attention weight is.
        positions: See `CausalTransformer`.
    """

    Settings = SASRecSettings

    def __init__(
        self,
        num_items: int,
        hidden_size: int,
        history_length: int,
        num_blocks: int,
        num_heads: int,
        dropout: float,
        positions: Positions = "absolute",
    ) -> None:
        block = partial(CausalBlock, hidden_size, num_heads, dropout, positions, history_length)
        super().__init__(num_items, hidden_size, history_length, block, num_blocks, dropout, positions)


class GRU4Rec(SequentialRecommender):
    """Recurrent sequential recommendation (Hidasi et al. 2016): `h_t = W GRU(x_1 … x_t) + b`, causal by construction.

    `x_t` is the vector of item t. With `residual`, ours, `x_t` is that vector normalised (LayerNorm, then dropout) and
    added to the state, `h_t = x_t + W GRU(x_1 … x_t) + b`, as in a transformer's block: the newest item's own vector
    need not pass through the gates.

    Args:
        num_items, hidden_size, history_length: See `SequentialRecommender`.
        num_layers: Stacked GRU layers.
        dropout: Share of item vectors and of the last GRU layer's outputs dropped in training.
        residual: See above.
    """

    Settings = GRU4RecSettings

    def __init__(
        self,
        num_items: int,
        hidden_size: int,
        history_length: int,
        num_layers: int,
        dropout: float,
        residual: bool = False,
    ) -> None:
        super().__init__(num_items, hidden_size, history_length)
        self.dropout = Dropout(dropout)
        self.gru = nn.GRU(hidden_size, hidden_size, num_layers, batch_first=True)
        self.out = nn.Linear(hidden_size, hidden_size)
        self.norm = nn.LayerNorm(hidden_size) if residual else None

    def encode(self, history: Tensor) -> Tensor:
        """See `SequentialRecommender.encode`; returns `[B, L, D]`."""
        vectors = self.items.lookup(history)
        if self.norm is not None:
            vectors = self.norm(vectors)
        x = self.dropout(vectors)
        hidden, _ = self.gru(x)
        state = self.out(self.dropout(hidden))
        return state if self.norm is None else x + state
