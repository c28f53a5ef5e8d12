"""The floor of every comparison: the same ranking for everyone, by how often an item stands in the training part."""

from torch import Tensor

from ..data.dataset import ExampleBatch


class Popularity:
    """Scores each item by its count among training interactions.

    Args:
        counts: `[num_items + 1]` int64, `Dataset.train_item_counts()`.
    """

    def __init__(self, counts: Tensor) -> None:
        self.scores = counts[1:].double()

    def score(self, batch: ExampleBatch) -> Tensor:
        """Returns `[B, num_items]` float64."""
        return self.scores.to(batch.target.device).expand(len(batch.target), -1)
