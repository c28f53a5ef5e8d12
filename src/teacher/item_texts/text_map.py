"""A linear map through which encodings of texts learn what users take after what."""

from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn
from typing_extensions import Self

from ...core.artefact import read_tensors
from ...core.errors import UserError
from ...data.rows import WindowBatch
from .settings import EncoderSettings
from .whitening import Whitening, whitening


class TextMap(nn.Module):
    """`v = normalised(x + W x)`, x being whitened encodings of length one. W begins as zero, so that training starts
    from the likeness that the language model sees.

    A map that starts at random, as that of a student with `item_vectors=texts` does, ends up below where this one
    begins (docs/teacher.md).

    Args:
        whitened: What makes x.
    """

    mean: Tensor
    axes: Tensor

    def __init__(self, whitened: Whitening) -> None:
        super().__init__()
        self.register_buffer("mean", whitened.mean)
        self.register_buffer("axes", whitened.axes)
        self.weight = nn.Parameter(torch.zeros(len(whitened.mean), len(whitened.mean)))

    @classmethod
    def of(cls, encodings: Tensor, strength: float) -> Self:
        """Returns the map before it has learned anything, of encodings `[num_items, d]`; see `whitening.whitening`."""
        return cls(whitening(encodings, strength))

    @classmethod
    def load(cls, path: Path) -> Self:
        """Reads what `save` wrote.

        Raises:
            UserError: It is something else.
        """
        found = read_tensors(path, "mean", "axes", "weight")
        width = len(found["mean"])
        if any(found[name].shape != (width, width) for name in ("axes", "weight")):
            raise UserError(f"{path} holds no map of encodings: make it again with run_encode.")
        read = cls(Whitening(found["mean"], found["axes"]))
        read.load_state_dict(found)
        return read

    def save(self, path: Path) -> None:
        save_file({name: value.contiguous() for name, value in self.state_dict().items()}, path)

    def whitened(self, encodings: Tensor) -> Tensor:
        """Returns x `[n, d]` float32 of encodings `[n, d]`."""
        return F.normalize(Whitening(self.mean, self.axes)(encodings), dim=1)

    def forward(self, x: Tensor, dropout: float = 0.0) -> Tensor:
        """Returns v `[n, d]` of x `[n, d]`."""
        return F.normalize(x + F.dropout(x, dropout, self.training) @ self.weight, dim=1)

    @torch.no_grad()
    def encodings(self, encodings: Tensor) -> Tensor:
        """Returns v `[n, d]` float32 of encodings as the language model made them, `[n, d]`."""
        return self(self.whitened(encodings))


def next_text_loss(
    texts: TextMap, x: Tensor, batch: WindowBatch, settings: EncoderSettings, draw: torch.Generator
) -> Tensor:
    """Returns the mean over the targets of `-log softmax_c(q · v_c / τ)[target]`, `q = Σ_j decay^j v_j / Σ_j decay^j`
    over the items before, the newest first: the likeness by which `TextLikeness` ranks, as an InfoNCE loss (van den
    Oord et al. 2018).

    Items that the window reads do not compete, the target aside: nothing is as like a text as itself, and what was
    taken is not recommended. With them the map would learn to keep titles apart (docs/teacher.md).

    Args:
        texts: The map.
        x: `[num_items, d]`, `TextMap.whitened` of the catalogue.
        batch: Windows `[B, L]`.
        settings: Key `encoder`.
        draw: What competes is drawn from it, where that is not all.
    """
    items = _competing(batch, len(x), settings.negatives, draw).to(x.device)
    place = torch.zeros(len(x) + 1, dtype=torch.int64, device=x.device)
    place[items] = torch.arange(len(items), device=x.device)
    dtype = torch.bfloat16 if torch.is_autocast_enabled(x.device.type) else torch.float32
    with torch.autocast(x.device.type, enabled=False):
        v = texts(x[items - 1], settings.dropout)
        taken = v[place[batch.history]] * (batch.history > 0).unsqueeze(2)
        has_target = batch.target > 0
        queries = (_decays(batch.history.shape[1], settings.decay).to(x.device) @ taken)[has_target]  # [M, d]
        scores = (queries.to(dtype) @ v.T.to(dtype)).float() / settings.temperature
    target = batch.target[has_target].unsqueeze(1)
    own = batch.history[has_target.nonzero()[:, 0]]  # [M, L]
    own = place[own.where(own > 0, target)]
    answer = place[target]
    scores = scores.scatter(1, own, -torch.inf).scatter(1, answer, scores.gather(1, answer))
    return F.cross_entropy(scores, answer.squeeze(1))


def _competing(batch: WindowBatch, num_items: int, most: int, draw: torch.Generator) -> Tensor:
    """Returns the items of a softmax, `[n]` in ascending order: all, or those of the batch and `most` drawn ones."""
    if num_items <= most:
        return torch.arange(1, num_items + 1)
    drawn = torch.randint(1, num_items + 1, (most,), generator=draw)
    of_batch = torch.cat([batch.history.flatten(), batch.target.flatten()]).cpu()
    return torch.cat([drawn, of_batch[of_batch > 0]]).unique()


def _decays(length: int, decay: float) -> Tensor:
    """Returns `[L, L]`: in row t what each item up to t counts, 1 in all."""
    behind = torch.arange(length).unsqueeze(1) - torch.arange(length)
    weights = (decay ** behind.clamp(min=0).float()).where(behind >= 0, 0)
    return weights / weights.sum(1, keepdim=True)
