"""The item table shared by all students: free vectors per item, plus the teacher's item embeddings when distilled."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...core.errors import UserError

ROUNDING = 1e-5  # share of embeddings' length
INITIAL_STD = 0.02  # small, so that what is learned soon outweighs the chance of the start, for rare items most of all


class ItemEmbedding(nn.Module):
    """`table = ids + ed_weight * (V W^T + b)`, DLLM2Rec's embedding distillation at the input.

    The projection begins so that what it adds is as small as the free vectors, whatever the scale of V: training
    decides how much of the teacher an item takes.

    `ids [num_items + 1, D]` are free parameters, row 0 is padding and stays zero; `V [num_items, d_teacher]` are the
    teacher's item embeddings (frozen); `W, b` are learned. The map is linear, so `fold` adds it into `ids` once
    training is over and the model serves without any teacher vector.

    Args:
        num_items: Size of the catalogue.
        hidden_size: D.
    """

    teacher_embeddings: Tensor  # V, as long as there is a projection

    def __init__(self, num_items: int, hidden_size: int) -> None:
        super().__init__()
        self.ids = nn.Embedding(num_items + 1, hidden_size, padding_idx=0)
        nn.init.normal_(self.ids.weight, std=INITIAL_STD)
        with torch.no_grad():
            self.ids.weight[0].zero_()
        self.projection: nn.Linear | None = None
        self.ed_weight = 0.0

    def distil_from(self, teacher_embeddings: Tensor, ed_weight: float) -> None:
        """Adds `ed_weight * Linear(teacher_embeddings)` to every item from now on.

        Args:
            teacher_embeddings: `[num_items, d_teacher]` float, row j belongs to item j + 1.
            ed_weight: Weight of the projected vectors, above 0.
        """
        hidden_size = self.ids.embedding_dim
        self.register_buffer("teacher_embeddings", teacher_embeddings, persistent=False)
        self.projection = nn.Linear(teacher_embeddings.shape[1], hidden_size)
        length = teacher_embeddings.float().norm(dim=1).square().mean().sqrt()
        nn.init.normal_(self.projection.weight, std=INITIAL_STD / (ed_weight * float(length)))
        nn.init.zeros_(self.projection.bias)
        self.ed_weight = ed_weight

    def read_from(self, encodings: Tensor) -> None:
        """Makes every item a linear map of its encoding from now on, and no more: no item has a vector of its own.

        Args:
            encodings: `[num_items, d]` float, row j belongs to item j + 1.
        """
        self.distil_from(encodings, 1.0)
        self.ids.weight.requires_grad_(False).zero_()

    @torch.no_grad()
    def start_from(self, embeddings: Tensor, std: float) -> None:
        """Puts `embeddings [num_items, d]` in the place of the random start, reduced to D principal components.

        The components keep their proportions and are scaled to `std` on average; where `d < D` the columns that are
        left stay random.

        Raises:
            UserError: All embeddings are the same.
        """
        keep = min(embeddings.shape[1], self.ids.embedding_dim)
        centred = without_mean(embeddings).double()
        reduced = centred @ torch.linalg.eigh(centred.T @ centred).eigenvectors[:, -keep:].flip(1)
        self.ids.weight[1:, :keep] = (reduced * (std / reduced.std())).float()

    def table(self) -> Tensor:
        """Returns `[num_items + 1, D]`; row 0 is zero."""
        if self.projection is None:
            return self.ids.weight
        return self.ids.weight + F.pad(self.ed_weight * self.projection(self.teacher_embeddings), (0, 0, 1, 0))

    def lookup(self, history: Tensor) -> Tensor:
        """Returns the rows of `table()` at `history` `[B, L]` int64, `[B, L, D]`, without making the others.

        A row is projected once however often its item occurs: what this costs does not grow with the catalogue.
        """
        if self.projection is None:
            return self.ids(history)
        items, place = history.unique(return_inverse=True)
        of_teacher = self.teacher_embeddings[items - 1]  # padding gets some item's, and loses it again
        projected = self.ed_weight * self.projection(of_teacher)
        return F.embedding(place, self.ids(items) + projected.where(items.unsqueeze(1) > 0, 0))

    @torch.no_grad()
    def fold(self) -> None:
        """Replaces `ids` by the whole table and forgets the teacher, if there is one; scores stay the same."""
        if self.projection is None:
            return
        self.ids.weight.copy_(self.table())
        self.ids.weight.requires_grad_(True)
        self.projection, self.ed_weight = None, 0.0
        del self.teacher_embeddings


def without_mean(embeddings: Tensor) -> Tensor:
    """Returns embeddings `[n, d]` float with their common part taken out.

    Raises:
        UserError: Nothing but rounding is left.
    """
    centred = embeddings - embeddings.mean(0)
    if float(centred.norm()) <= ROUNDING * float(embeddings.norm()):
        raise UserError(
            "All items have the same encoding, as where all titles are the same: item vectors cannot begin with it, or "
            "be read from it; set text_init to 0 and item_vectors to free, of the student, of teacher.user_encoder and "
            "of distill."
        )
    return centred


def standardised(embeddings: Tensor) -> Tensor:
    """Returns embeddings `[n, d]` float with their common part taken out and a variance of one on average.

    Encodings of texts share a large mean and are short; a linear map learns faster without either.

    Raises:
        UserError: All are the same.
    """
    centred = without_mean(embeddings)
    return centred / centred.std()
