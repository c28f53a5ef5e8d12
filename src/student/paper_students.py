"""SASRec, GRU4Rec and Caser as the code of DLLM2Rec computes them (Cui et al. 2024): the students of its tables.

Each reads a short history, right-padded, and is trained example by example. Scores come from an output layer of its
own, not from the item table; the teacher's item embeddings enter at the input (`ItemEmbedding.distil_from`). In its
code the projection's bias also stands at places of padding, where masks and packing keep it from every score; here
padding is zero from the start.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .caser import HistoryConvolutions
from .layers.attention import last_state
from .layers.dropout import Dropout
from .layers.embedding import INITIAL_STD
from .models import SequentialRecommender
from .settings import PaperCaserSettings, PaperGRU4RecSettings, PaperSASRecSettings

PAPER_INITIAL_STD = 0.01  # of item vectors


class PaperStudent(SequentialRecommender):
    """Scores `W h + b`, with W `[num_items, state_size]` and b `[num_items]` learned apart from the item table.

    Args:
        num_items, hidden_size, history_length: See `SequentialRecommender`; `hidden_size` is the item vectors'.
        state_size: Width of the states that `encode` returns, `[B, 1, state_size]`.
    """

    causal = False

    def __init__(self, num_items: int, hidden_size: int, history_length: int, state_size: int) -> None:
        super().__init__(num_items, hidden_size, history_length)
        with torch.no_grad():
            self.items.ids.weight.mul_(PAPER_INITIAL_STD / INITIAL_STD)
        self.output = nn.Linear(state_size, num_items)

    def output_layer(self) -> tuple[Tensor, Tensor]:
        """See `SequentialRecommender.output_layer`."""
        return self.output.weight, self.output.bias

    def output_rows(self, items: Tensor) -> tuple[Tensor, Tensor]:
        """See `SequentialRecommender.output_rows`."""
        return self.output.weight[items - 1], self.output.bias[items - 1]


class PaperSASRec(PaperStudent):
    """One post-norm block whose queries are normalised and whose keys and values are not.

    `q = LN1(x)`, `a = q + softmax(W_q q (W_k x)^T / sqrt(D)) W_v x`, `y = LN2(a)`, `h = LN3(LN_F(y + FFN(y)))`. The
    heads are scaled by the root of the full width D and their outputs are not mixed. Only the last item's state is
    scored, and no other state feeds into it, so that only its query is computed.

    Its code derives the masks from whether a row sums to exactly zero. That is so for padding, and by rounding for
    some freshly normalised rows, whose attention it then drops; here only padding is masked.

    Args:
        num_items, hidden_size, history_length: See `PaperStudent`.
        num_heads: Attention heads; divides `hidden_size`.
        dropout: Share of inputs, attention weights and feed-forward outputs dropped in training.
    """

    Settings = PaperSASRecSettings

    def __init__(self, num_items: int, hidden_size: int, history_length: int, num_heads: int, dropout: float) -> None:
        super().__init__(num_items, hidden_size, history_length, state_size=hidden_size)
        self.num_heads = num_heads
        self.positions = nn.Embedding(history_length, hidden_size)
        self.dropout = Dropout(dropout)
        self.norm_query = nn.LayerNorm(hidden_size)
        self.query = nn.Linear(hidden_size, hidden_size)
        self.key_value = nn.Linear(hidden_size, 2 * hidden_size)
        self.norm_attention = nn.LayerNorm(hidden_size)
        self.feed_forward = nn.Sequential(
            nn.Linear(hidden_size, hidden_size), nn.ReLU(), nn.Linear(hidden_size, hidden_size)
        )
        self.norm_feed_forward = nn.LayerNorm(hidden_size)
        self.norm_state = nn.LayerNorm(hidden_size)

    def encode(self, history: Tensor) -> Tensor:
        """See `SequentialRecommender.encode`; returns `[B, 1, D]`."""
        x = self.dropout(self.items.lookup(history) + self.positions.weight[: history.shape[1]])
        y = self.norm_attention(self._attended(self.norm_query(last_state(x, history)), x, history > 0))
        y = self.norm_feed_forward(y + self.dropout(self.feed_forward(y)))
        return self.norm_state(y)

    def _attended(self, query: Tensor, x: Tensor, real: Tensor) -> Tensor:
        """Returns `[B, 1, D]`: the query plus what it reads from the real places of `x`."""
        k, v = (self._heads(part) for part in self.key_value(x).chunk(2, dim=-1))  # [B, heads, L, D/heads]
        scores = self._heads(self.query(query)) @ k.transpose(2, 3) / x.shape[-1] ** 0.5  # [B, heads, 1, L]
        weights = self.dropout(scores.masked_fill(~real[:, None, None], -torch.inf).softmax(-1))
        return query + (weights @ v).transpose(1, 2).flatten(2)

    def _heads(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)


class PaperGRU4Rec(PaperStudent):
    """One GRU layer over the item vectors; its last state goes to the output layer. Nothing is dropped out.

    Args:
        num_items, hidden_size, history_length: See `PaperStudent`.
    """

    Settings = PaperGRU4RecSettings

    def __init__(self, num_items: int, hidden_size: int, history_length: int) -> None:
        super().__init__(num_items, hidden_size, history_length, state_size=hidden_size)
        self.gru = nn.GRU(hidden_size, hidden_size, batch_first=True)

    def encode(self, history: Tensor) -> Tensor:
        """See `SequentialRecommender.encode`; returns `[B, 1, D]`."""
        return last_state(self.gru(self.items.lookup(history))[0], history)


class PaperCaser(PaperStudent):
    """Caser whose filters' answers are the state, without a layer to bring them to the items' width.

    One vertical filter, its answer passed through ReLU too.

    Args:
        num_items, hidden_size, history_length: See `PaperStudent`.
        filter_heights, num_horizontal: See `HistoryConvolutions`.
        dropout: Share of the filters' answers dropped in training.
    """

    Settings = PaperCaserSettings

    def __init__(
        self,
        num_items: int,
        hidden_size: int,
        history_length: int,
        filter_heights: Sequence[int],
        num_horizontal: int,
        dropout: float,
    ) -> None:
        convolutions = HistoryConvolutions(hidden_size, history_length, filter_heights, num_horizontal, num_vertical=1)
        super().__init__(num_items, hidden_size, history_length, state_size=convolutions.out_features)
        self.convolutions = convolutions
        for layer in (*convolutions.horizontal, convolutions.vertical):
            filters, size = len(layer.weight), layer.weight[0].numel()
            nn.init.normal_(layer.weight, std=(2 / (size + filters * size)) ** 0.5)  # Xavier, as 2-d convolutions
            nn.init.constant_(layer.bias, 0.1)
        self.dropout = Dropout(dropout)

    def encode(self, history: Tensor) -> Tensor:
        """See `SequentialRecommender.encode`; returns `[B, 1, heights x num_horizontal + D]`."""
        horizontal, vertical = self.convolutions(self.items.lookup(history))
        return self.dropout(torch.cat([horizontal, vertical.relu()], dim=1)).unsqueeze(1)
