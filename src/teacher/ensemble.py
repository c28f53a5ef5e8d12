"""An ensemble of the language model and the frozen student it was built over, by one weight."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from ..core.metrics import ndcg, rank_of_target
from ..data.dataset import ExampleBatch


class EnsembleMember(nn.Module, ABC):
    """A teacher whose ranking may be joined with that of the frozen student it was built over.

    student_weight: Scalar float32 buffer, the student's weight; 0: the teacher alone.
    """

    student_weight: Tensor

    @abstractmethod
    def scores_of_both(self, batch: ExampleBatch) -> tuple[Tensor, Tensor]:
        """Returns `[B, num_items]` scores of the language model alone, and of the frozen student."""


def ensemble_scores(scores: Tensor, student_scores: Tensor, weight: Tensor | float) -> Tensor:
    """`log p_teacher + weight · log p_student`, a product of experts: `[B, num_items]` scores of both, and of both."""
    return scores.log_softmax(-1) + weight * student_scores.log_softmax(-1)


@torch.no_grad()
def ndcg_by_weight(
    model: EnsembleMember, batches: Iterable[ExampleBatch], weights: Sequence[float], device: torch.device
) -> dict[float, float]:
    """Returns NDCG@10 on `batches` for each weight of the student; the language model reads every batch once.

    Args:
        model: The teacher.
        batches: Validation examples, one weight being all that is chosen by them.
        weights: At least one.
        device: Where the model is.
    """
    ranks: dict[float, list[Tensor]] = {weight: [] for weight in weights}
    for batch in batches:
        batch = batch.to(device)
        own, student = model.scores_of_both(batch)
        for weight in weights:
            scores = ensemble_scores(own, student, weight) if weight else own
            ranks[weight].append(rank_of_target(scores, batch.target, batch.seen))
    return {weight: float(ndcg(torch.cat(each), 10).mean()) for weight, each in ranks.items()}
