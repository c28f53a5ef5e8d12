"""Items that come after a student's training: their vectors from their texts, by those of the items that it knows."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..core.errors import UserError
from .factory import create_student
from .layers.embedding import without_mean
from .models import SequentialRecommender

NEIGHBOURS, TEMPERATURE = 20, 0.07
ROWS = 1024  # new items whose neighbours are sought at once


def vectors_from_texts(encodings: Tensor, vectors: Tensor, counts: Tensor) -> Tensor:
    """Returns `[m, D]` float32 vectors of items that come after those of `vectors`: of each the mean of the vectors of
    its neighbours, those trained items whose texts are most like its own, weighted by exp(cosine / T) √count.

    That is kernel regression (Nadaraya 1964; Watson 1964). A linear map of the encodings, by least squares or trained
    on the student's own loss, ranks new items half as well (docs/results.md).

    Args:
        encodings: `[n + m, d]` float, of all texts, new items' last.
        vectors: `[n, D]` float, of the items that are known.
        counts: `[n]`, their training interactions; at least one has some.

    Raises:
        UserError: All texts have the same encoding.
    """
    trained = counts.nonzero()[:, 0]
    unit = F.normalize(without_mean(encodings.float()), dim=1)
    known, frequency = unit[trained], counts[trained].float().log() / 2
    found = []
    for rows in unit[len(vectors) :].split(ROWS):
        nearest = (rows @ known.T).topk(min(NEIGHBOURS, len(trained)))
        weights = (nearest.values / TEMPERATURE + frequency[nearest.indices]).softmax(1)
        found.append(torch.einsum("mk,mkd->md", weights, vectors[trained[nearest.indices]].float()))
    return torch.cat(found)


def with_new_items(
    student: SequentialRecommender, name: str, architecture: dict[str, Any], counts: Tensor, encodings: Tensor
) -> SequentialRecommender:
    """Returns a copy of a student, in evaluation mode, whose catalogue goes on with the items that it does not know.

    Args:
        student: A trained one, its teacher folded in.
        name, architecture: What `create_student` built it from.
        counts: `[num_items]`, training interactions of the items that it knows.
        encodings: `[num_items + m, d]` float, of their texts and of the new ones'.

    Raises:
        UserError: It has more than a vector for each item, or all texts have the same encoding.
    """
    extended = create_student(name, len(encodings), architecture)
    weights, own, table = dict(student.state_dict()), extended.state_dict(), "items.ids.weight"
    new = vectors_from_texts(encodings, student.item_table()[1:].detach(), counts)
    weights[table] = torch.cat([weights[table], new.to(weights[table])])
    if any(weights[key].shape != own[key].shape for key in own):
        raise UserError(
            f"A student of {name} has more than a vector for each item, so that no text can stand for an item which it "
            "has not seen: use another student, or leave out the new items."
        )
    extended.load_state_dict(weights)
    return extended.eval()
