"""Hints: the student's representation of a user learns from the teacher's."""

import torch
from torch import Tensor, nn


class Hint(nn.Module):
    """`weight · mean_d (W h + b - z)²`, FitNets' hint (Romero et al. 2015) on representations of the user.

    `h [m, D]` is the student's state at an example, `z [m, d]` the teacher's, freed of its mean and scaled to a
    variance of one on average; `W, b` are learned and thrown away.

    Args:
        user_states: `[n, d]` float, the teacher's representation of each example that it was asked about.
        hidden_size: D.
        weight: Above 0.
    """

    user_states: Tensor
    mean: Tensor
    std: Tensor

    def __init__(self, user_states: Tensor, hidden_size: int, weight: float) -> None:
        super().__init__()
        self.register_buffer("user_states", user_states, persistent=False)
        self.register_buffer("mean", user_states.mean(0, dtype=torch.float32), persistent=False)
        # about the mean, without a centred copy of all states
        squares = torch.stack([part.float().square().mean() for part in user_states.split(4096)])
        sizes = torch.tensor([len(part) for part in user_states.split(4096)])
        variance = (squares * sizes).sum() / len(user_states) - self.mean.square().mean()
        self.register_buffer("std", variance.sqrt(), persistent=False)
        self.projection = nn.Linear(hidden_size, user_states.shape[1])
        self.weight = weight

    def forward(self, hidden: Tensor, row: Tensor) -> Tensor:
        """Returns the loss of each example, `[m]`, for states `[m, D]` and the teacher's rows `[m]` int64."""
        wanted = (self.user_states[row].float() - self.mean) / self.std
        return self.weight * (self.projection(hidden) - wanted).square().mean(1)
