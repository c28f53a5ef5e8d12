"""Caser: a history read as an image, with convolutions over time and over features."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .layers.dropout import Dropout
from .models import SequentialRecommender
from .settings import CaserSettings


class HistoryConvolutions(nn.Module):
    """Caser's two kinds of convolution over histories of exactly L places (Tang & Wang 2018, equations 4 to 8).

    Horizontal filters of height h and width D slide over time; each gives the largest of its L - h + 1 answers after
    ReLU: whether a pattern of h items in a row occurs. Vertical filters are weighted sums over the L places and a bias,
    the same for each of the D features. Where a history is shorter, filters slide over its padding too; on which side
    it stands is for whoever calls.

    Args:
        hidden_size: D.
        history_length: L.
        filter_heights: Heights of horizontal filters, each from 1 to L.
        num_horizontal: Filters of each height.
        num_vertical: Vertical filters.
    """

    def __init__(
        self,
        hidden_size: int,
        history_length: int,
        filter_heights: Sequence[int],
        num_horizontal: int,
        num_vertical: int,
    ) -> None:
        super().__init__()
        self.history_length = history_length
        self.horizontal = nn.ModuleList(nn.Conv1d(hidden_size, num_horizontal, height) for height in filter_heights)
        self.vertical = nn.Linear(history_length, num_vertical)
        self.out_features = num_horizontal * len(filter_heights) + num_vertical * hidden_size

    def forward(self, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the answers of the horizontal filters `[B, heights x num_horizontal]` and of the vertical ones
        `[B, D x num_vertical]`, the latter linear.

        Args:
            vectors: `[B, n, D]` float with n <= L, zero at padding; the places up to L count as padding.
        """
        B, n, D = vectors.shape
        image = vectors.new_zeros(B, D, self.history_length)
        image[:, :, :n] = vectors.transpose(1, 2)
        horizontal = [conv(image).amax(2).relu() for conv in self.horizontal]  # ReLU and maximum can change places
        return torch.cat(horizontal, dim=1), self.vertical(image).flatten(1)


class Caser(SequentialRecommender):
    """Convolutional sequence embedding (Tang & Wang 2018) without a vector per user, scored by the tied item table.

    The newest item stands at the last of the L places and padding before the oldest, as published: a vertical filter
    weighs the newest item alike in every history. One linear layer brings the filters' answers to the items' width.
    With `residual`, ours, item vectors are normalised (LayerNorm, then dropout) and the newest one is added to that
    layer's output.

    Args:
        num_items, hidden_size, history_length: See `SequentialRecommender`.
        filter_heights, num_horizontal, num_vertical: See `HistoryConvolutions`.
        dropout: Share of the filters' answers dropped in training, with `residual` of item vectors, too.
        residual: See above.
    """

    Settings = CaserSettings
    causal = False

    def __init__(
        self,
        num_items: int,
        hidden_size: int,
        history_length: int,
        filter_heights: Sequence[int],
        num_horizontal: int,
        num_vertical: int,
        dropout: float,
        residual: bool = False,
    ) -> None:
        super().__init__(num_items, hidden_size, history_length)
        self.convolutions = HistoryConvolutions(
            hidden_size, history_length, filter_heights, num_horizontal, num_vertical
        )
        self.dropout = Dropout(dropout)
        self.out = nn.Linear(self.convolutions.out_features, hidden_size)
        self.norm = nn.LayerNorm(hidden_size) if residual else None

    def encode(self, history: Tensor) -> Tensor:
        """See `SequentialRecommender.encode`; returns `[B, 1, D]`."""
        history = newest_last(history, self.history_length)
        vectors = self.items.lookup(history)
        if self.norm is not None:
            vectors = self.dropout(self.norm(vectors) * (history > 0).unsqueeze(-1))  # padding stays zero
        answers = torch.cat(self.convolutions(vectors), dim=1)
        state = self.out(self.dropout(answers))
        return (state if self.norm is None else vectors[:, -1] + state).unsqueeze(1)


def newest_last(history: Tensor, history_length: int) -> Tensor:
    """Returns `[B, history_length]` int64, padded before the oldest item, of histories `[B, L]` padded with 0 behind
    the newest.
    """
    place = torch.arange(history_length, device=history.device) - history_length + (history > 0).sum(1, keepdim=True)
    return history.gather(1, place.clamp(min=0)).where(place >= 0, 0)
