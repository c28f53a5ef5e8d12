"""What every teacher can do."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..core.dataset import Dataset, ExampleBatch, Examples
from ..core.metrics import top_k


class Scored(NamedTuple):
    """Some rows of the examples that were asked about.

    rows: `[m]` int64.
    scores: `[m, num_items]` float32.
    tokens_read: Tokens that the language model read for them, padding left out.
    user_states: `[m, d]`, the teacher's representation of their histories, where it has one.
    """

    rows: Tensor
    scores: Tensor
    tokens_read: int
    user_states: Tensor | None = None


class TeacherModel(nn.Module, ABC):
    """A slow recommender whose knowledge is worth keeping."""

    @abstractmethod
    def training_loss(self, batch: ExampleBatch) -> Tensor:
        """Returns the mean loss of the batch, a scalar with gradients."""

    @abstractmethod
    def score(self, batch: ExampleBatch) -> Tensor:
        """Returns `[B, num_items]` float32 scores of the whole catalogue, column j for item j + 1, higher is better."""

    @abstractmethod
    def item_embeddings(self) -> Tensor:
        """Returns `[num_items, d_teacher]` float32, row j for item j + 1."""

    def rank(self, batch: ExampleBatch, k: int, excluded: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Returns the k best items as numbers `[B, k]` int64 with their log-probabilities over the whole catalogue.

        Args:
            batch: Examples to rank for.
            k: How many.
            excluded: `[B, L]` item numbers that are not to appear (seen items), 0 = none. They keep their share of the
                probability: a log-probability means the same whether or not something was left out.
        """
        return best_items(self.score(batch), k, excluded)

    @abstractmethod
    def scores_in_batches(self, dataset: Dataset, examples: Examples) -> Iterator[Scored]:
        """Scores train examples in whatever order and batches suit the model; every example comes once."""

    def read_together(self, dataset: Dataset) -> Tensor:
        """Returns a number for each train example, `[n]` int64: those of one number are read at once, at one price."""
        return torch.arange(len(dataset.examples["train"]))

    @abstractmethod
    def tokens_by_example(self, dataset: Dataset) -> Tensor:
        """Returns the tokens read to score each train example, `[n]` float64; examples read together share theirs."""


def best_items(scores: Tensor, k: int, excluded: Tensor | None) -> tuple[Tensor, Tensor]:
    """Returns what `TeacherModel.rank` does, from scores `[B, num_items]`."""
    return top_k(scores.log_softmax(1), k, excluded)
