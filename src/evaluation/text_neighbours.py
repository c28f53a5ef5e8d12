"""What is like what was taken last, by its text alone: the floor for items that nobody has taken yet."""

import torch
import torch.nn.functional as F
from torch import Tensor

from ..data.dataset import ExampleBatch


class TextNeighbours:
    """Scores an item by the cosine of its text's encoding to the mean of those of the newest items of a history.

    Args:
        encodings: `[num_items, d]` float, centred.
        newest: How many items.
    """

    def __init__(self, encodings: Tensor, newest: int) -> None:
        self.encodings, self.newest = F.normalize(encodings, dim=1), newest

    def score(self, batch: ExampleBatch) -> Tensor:
        """Returns `[B, num_items]` float32."""
        place = (batch.history > 0).sum(1, keepdim=True) - 1 - torch.arange(self.newest, device=batch.history.device)
        items = batch.history.gather(1, place.clamp(min=0))  # [B, newest]
        read = self.encodings[items - 1] * (place >= 0).unsqueeze(2)
        return F.normalize(read.sum(1), dim=1) @ self.encodings.T
