"""The floor of every comparison: the same ranking for everyone, by how often an item stands in the training part."""

from torch import Tensor

from ..data.dataset import ExampleBatch


class Popularity:
    """Scores each item by log(count + 1), count being its training interactions: their softmax is the smoothed share
    of interactions (Laplace).

    Args:
        counts: `[num_items + 1]` int64, `Dataset.train_item_counts()`.
    """

    def __init__(self, counts: Tensor) -> None:
        self.scores = counts[1:].double().log1p()

    def score(self, batch: ExampleBatch) -> Tensor:
        """Returns `[B, num_items]` float64."""
        return self.scores.to(batch.target.device).expand(len(batch.target), -1)
