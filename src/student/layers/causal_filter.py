"""A filter that parts a history into its slow and its fast changes, and knows no later item."""

import torch
from torch import Tensor, nn

from .attention import last_place, last_state


class CausalFilter(nn.Module):
    """`y_t = low_t + β² (x_t - low_t)`, `low_t = Σ_k w_k x_{t-k}`, `w_k ∝ sinc(k / W)` for k < W, `Σ_k w_k = 1`.

    The frequency rescaler of BSARec (Shin et al. 2024, equations 5 to 7: low frequencies plus β² times the high ones),
    with an ideal low-pass of which only what lies behind a position is kept, up to the first zero of its impulse
    response. The published one keeps the lowest frequencies of a whole padded history of L places, c of them counted in
    both directions; it mixes later items into earlier ones, so that only the last position can be trained. What ours
    leaves out of its response at the last position are the smaller lobes behind the first W = L / c items and, by its
    period, the oldest items of a full history. Before a history stand zeros: its first items have small low parts.

    Args:
        hidden_size: D; each feature has its own β.
        items: W, how many of the newest items make the low frequencies.
        history_length: L.
    """

    weights: Tensor  # [L], w_k of the item k places back

    def __init__(self, hidden_size: int, items: int, history_length: int) -> None:
        super().__init__()
        self.beta = nn.Parameter(torch.randn(hidden_size))  # as published
        back = torch.arange(history_length, dtype=torch.float64)
        lobe = torch.sinc(back / items).where(back < items, 0)
        self.register_buffer("weights", (lobe / lobe.sum()).float(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Returns `[B, L, D]` of `x [B, L, D]`."""
        place = torch.arange(x.shape[1], device=x.device)
        return self._rescaled(x, self._behind(place.unsqueeze(1) - place) @ x)

    def last(self, x: Tensor, history: Tensor) -> Tensor:
        """Returns `[B, 1, D]`, `forward` at the last item of each history `[B, L]` alone."""
        place, last = torch.arange(x.shape[1], device=x.device), last_place(history)
        low = self._behind(last.unsqueeze(1) - place).unsqueeze(1) @ x
        return self._rescaled(last_state(x, history), low)

    def _behind(self, back: Tensor) -> Tensor:
        """Returns the weights of items that stand `back` places behind, 0 for those that come later."""
        return self.weights[back.clamp(min=0)].where(back >= 0, 0)

    def _rescaled(self, x: Tensor, low: Tensor) -> Tensor:
        return low + self.beta.square() * (x - low)
