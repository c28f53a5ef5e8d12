"""A student whose best items are ranked anew: what ranks the test users where an endpoint is evaluated."""

from collections.abc import Iterator

import torch
from torch import Tensor

from ...data.dataset import Dataset, ExampleBatch, Examples
from ..ensemble.opinion_pool import OpinionPool
from ..interfaces import best_items


@torch.inference_mode()
def best_of(
    student: OpinionPool, dataset: Dataset, examples: Examples, k: int, without_seen: bool, at_once: int
) -> Tensor:
    """Returns the student's k best items of each example, `[n, k]` int64, best first, on the CPU.

    Args:
        student: On any device.
        dataset, examples: Whose histories.
        k: How many.
        without_seen: Whether items of the history are left out.
        at_once: Examples whose scores are held at once.
    """
    device = student.weights.device

    def parts() -> Iterator[Tensor]:
        for rows in torch.arange(len(examples)).split(at_once):
            batch = dataset.batch(examples.subset(rows), student.history_length, without_seen).to(device)
            yield best_items(student.score(batch), k, batch.seen)[0].cpu()

    return torch.cat(list(parts()))


class Reordered:
    """Scores of a student in which the candidates have changed places; all other items keep theirs.

    Args:
        student: Whose scores.
        example_id: `[n]` int64, whom there are rankings of.
        ranked: `[n, C]` int64, the student's C best items of each, in their new order.
    """

    def __init__(self, student: OpinionPool, example_id: Tensor, ranked: Tensor) -> None:
        self.student, self.ranked = student, ranked
        self.row_of_example = torch.full((int(example_id.max()) + 1,), -1)
        self.row_of_example[example_id] = torch.arange(len(example_id))

    @property
    def history_length(self) -> int:
        """The most items of a history that the student reads."""
        return self.student.history_length

    def score(self, batch: ExampleBatch) -> Tensor:
        """Returns `[B, num_items]` float32, see `TeacherModel.score`."""
        scores = self.student.score(batch)
        columns = (self.ranked[self.row_of_example[batch.example_id.cpu()]] - 1).to(scores.device)
        falling = scores.gather(1, columns).sort(1, descending=True).values
        return scores.scatter(1, columns, falling)
