"""BSARec: self-attention beside a filter that parts a history into its slow and its fast changes."""

from functools import partial

from torch import Tensor

from .layers.attention import CausalBlock
from .layers.causal_filter import CausalFilter
from .layers.dropout import Dropout
from .models import CausalTransformer
from .settings import BSARecSettings, Positions


class FilteredBlock(CausalBlock):
    """`x + α Filter(LN(x)) + (1 - α) Attention(LN(x))`, then `x + FFN(LN(x))`.

    Args:
        alpha: α.
        filter_items: See `CausalFilter`.
        The others: See `CausalBlock`.
    """

    def __init__(
        self,
        hidden_size: int,
        num_heads: int,
        dropout: float,
        positions: Positions,
        history_length: int,
        alpha: float,
        filter_items: int,
    ) -> None:
        super().__init__(hidden_size, num_heads, dropout, positions, history_length)
        self.alpha = alpha
        self.filter = CausalFilter(hidden_size, filter_items, history_length)
        self.dropout_filter = Dropout(dropout)

    def mix(self, normed: Tensor) -> Tensor:
        """See `CausalBlock.mix`."""
        return self._both(self.filter(normed), super().mix(normed))

    def mix_last(self, normed: Tensor, history: Tensor) -> Tensor:
        """See `CausalBlock.mix_last`."""
        return self._both(self.filter.last(normed, history), super().mix_last(normed, history))

    def _both(self, filtered: Tensor, attended: Tensor) -> Tensor:
        return self.alpha * self.dropout_filter(filtered) + (1 - self.alpha) * attended


class BSARec(CausalTransformer):
    """SASRec with an attentive inductive bias beyond self-attention (Shin, Choi, Wi & Park 2024), causal at every
    position and pre-norm.

    Args:
        alpha: α, the filter's share beside that of attention, 1 - α.
        filter_items: W, the newest items whose smoothed mean the low frequencies are.
        The others: See `SASRec`.
    """

    Settings = BSARecSettings

    def __init__(
        self,
        num_items: int,
        hidden_size: int,
        history_length: int,
        num_blocks: int,
        num_heads: int,
        dropout: float,
        alpha: float,
        filter_items: int,
        positions: Positions = "absolute",
    ) -> None:
        block = partial(FilteredBlock, hidden_size, num_heads, dropout, positions, history_length, alpha, filter_items)
        super().__init__(num_items, hidden_size, history_length, block, num_blocks, dropout, positions)
