"""The router that iLoRA's code uses: a small residual network that reads the user's vector as a signal."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .gating import Router

CHANNELS, BLOCKS = (16, 32, 64), 3  # of the three stages, and in each


class ResNetRouter(Router):
    """A one-dimensional ResNet over the d_user features in their order, average pooling, a linear layer, softmax.

    Convolutions are 3 wide and have no bias; batch normalisation takes the batch's own statistics in training, so that
    there the gates of an example depend on the others of its batch.

    Args:
        d_user: Features; at least one.
        num_experts: E (always 4 in the reference's code).
    """

    def __init__(self, d_user: int, num_experts: int) -> None:
        super().__init__()
        self.conv = _convolution(1, CHANNELS[0], stride=1)
        self.norm = nn.BatchNorm1d(CHANNELS[0])
        blocks, width = [], CHANNELS[0]
        for stage, channels in enumerate(CHANNELS):
            for block in range(BLOCKS):
                blocks.append(ResidualBlock(width, channels, stride=2 if stage > 0 and block == 0 else 1))
                width = channels
        self.blocks = nn.Sequential(*blocks)
        self.out = nn.Linear(width, num_experts)

    def forward(self, user: Tensor) -> Tensor:
        """`[..., d_user]` to `[..., E]`."""
        signal = user.reshape(-1, 1, user.shape[-1])
        pooled = self.blocks(self.norm(self.conv(signal)).relu()).mean(2)
        return self.out(pooled).softmax(-1).unflatten(0, user.shape[:-1])


class ResidualBlock(nn.Module):
    """`ReLU(BN(conv(ReLU(BN(conv(x))))) + shortcut(x))`, `[B, C, L]` to `[B, C', L / stride]`.

    The shortcut has no weights: every `stride`-th place, the new channels zero on both sides of the old ones.
    """

    def __init__(self, width: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.norm1 = _convolution(width, channels, stride), nn.BatchNorm1d(channels)
        self.conv2, self.norm2 = _convolution(channels, channels, 1), nn.BatchNorm1d(channels)
        self.stride, self.new_channels = stride, channels - width

    def forward(self, x: Tensor) -> Tensor:
        left = self.new_channels // 2
        shortcut = F.pad(x[:, :, :: self.stride], (0, 0, left, self.new_channels - left))
        inner = self.norm1(self.conv1(x)).relu()
        return torch.relu(self.norm2(self.conv2(inner)) + shortcut)


def _convolution(width: int, channels: int, stride: int) -> nn.Conv1d:
    return nn.Conv1d(width, channels, 3, stride, padding=1, bias=False)
