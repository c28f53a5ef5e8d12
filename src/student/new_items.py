"""Items that come after a student's training: recommended by their texts, and by what it knows of items like them."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..core.errors import UserError
from ..core.precision import float32_scores
from .choices import STUDENTS
from .factory import create_student
from .layers.attention import last_place
from .layers.embedding import without_mean
from .models import SequentialRecommender

SCORES_BY = ("item_table", "output_layer", "output_rows", "score", "predict")
NEIGHBOURS, TEMPERATURE = 20, 0.07
NEAR = 0.75  # cosine of two texts from which on likeness speaks for an item
COMPONENTS = 128  # of the encodings: with fewer, texts are told apart less well, with more a served model grows
ROWS = 1024  # new items whose neighbours are sought at once


class WithNewItems(SequentialRecommender):
    """A student whose catalogue goes on with items that came after its training.

    A new item j scores `h · v_j + likeness (cos(e_newest, e_j) - 0.75) + boost`: h is the state after the history, v_j
    the item's vector (`vectors_from_texts`), e the encodings of texts, and "newest" the last item of the history. Known
    items score as before. In a history a new item is read by its vector.

    Args:
        student: One of the larger catalogue (`grown`).
        num_known: Its items that were trained; those behind them are new.
        encodings: `[num_items, d]` float, of all texts.
        likeness, boost: See above.
    """

    texts: Tensor  # [num_items + 1, P], of length 1 each but for row 0, padding, which is zero

    def __init__(
        self, student: SequentialRecommender, num_known: int, encodings: Tensor, likeness: float, boost: float
    ) -> None:
        nn.Module.__init__(self)  # its items are those of the student
        self.student, self.items, self.causal = student, student.items, student.causal
        self.num_items, self.history_length, self.num_known = student.num_items, student.history_length, num_known
        self.likeness, self.boost = likeness, boost
        self.register_buffer("texts", F.pad(_in_components(encodings, num_known), (0, 0, 1, 0)))

    def encode(self, history: Tensor) -> Tensor:
        """See `SequentialRecommender.encode`."""
        return self.student.encode(history)

    def last_states(self, history: Tensor) -> Tensor:
        """See `SequentialRecommender.last_states`."""
        return self.student.last_states(history)

    def predict(self, history: Tensor) -> Tensor:
        """See `SequentialRecommender.predict`."""
        with float32_scores(history.device):
            newest = self.texts[history.gather(1, last_place(history).unsqueeze(1))[:, 0]]
            cosine = newest @ self.texts[self.num_known + 1 :].T
            more = self.likeness * (cosine - NEAR) + self.boost
            return self.score(self.user_representation(history)) + F.pad(more, (self.num_known, 0))


def grown(
    student: SequentialRecommender, name: str, architecture: dict[str, Any], counts: Tensor, encodings: Tensor
) -> SequentialRecommender:
    """Returns a copy of a student, in evaluation mode, with vectors for items that it does not know.

    Args:
        student: A trained one, its teacher folded in.
        name, architecture: What `create_student` built it from.
        counts: `[num_items]`, training interactions of the items that it knows.
        encodings: `[num_items + m, d]` float, of their texts and of the new ones'.

    Raises:
        UserError: It scores by more than a vector for each item, or all texts have the same encoding.
    """
    check_kind(name)
    larger = create_student(name, len(encodings), architecture)
    weights, own, table = dict(student.state_dict()), larger.state_dict(), "items.ids.weight"
    new = vectors_from_texts(encodings, weights[table][1:], counts)
    weights[table] = torch.cat([weights[table], new.to(weights[table])])
    if any(weights[key].shape != own[key].shape for key in own):
        raise _more_than_vectors(name)
    larger.load_state_dict(weights)
    return larger.eval()


def check_kind(name: str) -> None:
    """Makes sure that a text can stand for an item that a student of this name has not seen.

    Raises:
        UserError: Its scores are not products with item vectors.
    """
    kind = STUDENTS[name]
    if any(getattr(kind, each) is not getattr(SequentialRecommender, each) for each in SCORES_BY):
        raise _more_than_vectors(name)


def _more_than_vectors(name: str) -> UserError:
    return UserError(
        f"A student of {name} scores by more than a vector for each item, so that no text can stand for an item which "
        "it has not seen: use another student, or leave out the new items."
    )


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
    unit = F.normalize(_centred(encodings, len(vectors)), dim=1)
    known, frequency = unit[trained], counts[trained].float().log() / 2
    found = []
    for rows in unit[len(vectors) :].split(ROWS):
        nearest = (rows @ known.T).topk(min(NEIGHBOURS, len(trained)))
        weights = (nearest.values / TEMPERATURE + frequency[nearest.indices]).softmax(1)
        found.append(torch.einsum("mk,mkd->md", weights, vectors[trained[nearest.indices]].float()))
    return torch.cat(found)


def _centred(encodings: Tensor, num_known: int) -> Tensor:
    """Returns encodings without the mean of known ones: a new item does not depend on which others are new."""
    known = encodings[:num_known].float()
    without_mean(known)  # refuses those that are all the same
    return encodings.float() - known.mean(0)


def _in_components(encodings: Tensor, num_known: int) -> Tensor:
    """Returns `[n, P]` of length 1 each: encodings in the first principal components of those of known items."""
    centred = _centred(encodings, num_known).double()
    known = centred[:num_known]
    components = torch.linalg.eigh(known.T @ known).eigenvectors[:, -COMPONENTS:]
    return F.normalize(centred @ components, dim=1).float()
