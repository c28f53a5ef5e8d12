"""A ranker by texts alone: an item is the likelier the more its text is like those of the newest items taken."""

import torch
import torch.nn.functional as F
from torch import Tensor

from ...student.models import SequentialRecommender
from .whitening import whitened

LIKENESS = "likeness"  # what the member is called
TEMPERATURE = 0.1  # of cosines; the pool's weight is what decides
NEWEST = 20  # items of a history that are looked at


class TextLikeness(SequentialRecommender):
    """`score(i) = t_i · Σ_j w_j t_{h_j} / (τ Σ_j w_j)`, `w_j = decay^j` of the j-th newest item of a history, `t` being
    the items' encodings of length one.

    Histories whose newest texts are alike make it surer than mixed ones. It learns nothing, so that with encodings that
    were not learned here what it says of examples that others were trained on is what it says of any.

    Args:
        encodings: `[num_items, d]` float, of the items' texts.
        decay: What an older item counts, as a share of the one after it.
        whitening: See `whitening.whitening`.

    Raises:
        UserError: All encodings are the same.
    """

    causal = False

    def __init__(self, encodings: Tensor, decay: float, whitening: float) -> None:
        super().__init__(len(encodings), encodings.shape[1], NEWEST)
        self.decay = decay
        texts = F.normalize(whitened(encodings, whitening), dim=1)
        with torch.no_grad():
            self.items.ids.weight[1:] = texts

    def encode(self, history: Tensor) -> Tensor:
        """See `SequentialRecommender.encode`; returns `[B, 1, d]`."""
        real = history > 0
        behind = real.sum(1, keepdim=True) - 1 - torch.arange(history.shape[1], device=history.device)
        weights = (self.decay ** behind.clamp(min=0).float()).where(real, 0)  # [B, L]
        read = torch.einsum("bl,bld->bd", weights, self.items.lookup(history))
        return (read / (TEMPERATURE * weights.sum(1, keepdim=True).clamp(min=1e-12))).unsqueeze(1)

    @torch.no_grad()
    def shuffle(self, draw: torch.Generator) -> None:
        """Gives each item the text of another one, drawn without replacement: what is left is what texts alone tell of
        items that they are not of.
        """
        texts = self.items.ids.weight[1:]
        texts.copy_(texts[torch.randperm(len(texts), generator=draw).to(texts.device)])
