"""What every teacher can do."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, NamedTuple

import torch
from torch import Tensor, nn

from ..core.metrics import Scores, top_k
from ..data.dataset import Dataset, ExampleBatch, Examples
from ..data.rows import Batch, Rows


class Scored(NamedTuple):
    """Some rows of the examples that were asked about.

    rows: `[m]` int64.
    scores: `[m, num_items]` float32, of which rows can be asked for: those of all would be as large as the catalogue
        makes them.
    tokens_read: Tokens that the language model read for them, padding left out.
    user_states: `[m, d]`, the teacher's representation of their histories, where it has one.
    """

    rows: Tensor
    scores: Scores
    tokens_read: int
    user_states: Tensor | None = None


@dataclass(frozen=True)
class MadeByRow:
    """Scores `[m, num_items]` that `make` makes of the rows that are asked for, each time anew."""

    make: Callable[[slice], Tensor]

    def __getitem__(self, rows: slice) -> Tensor:
        with torch.no_grad():
            return self.make(rows)


@dataclass(frozen=True)
class Reading:
    """What a teacher reads at once of the examples that it is asked about.

    rows: `[m]` int64, of these examples.
    read: Reads them.
    """

    rows: Tensor
    read: Callable[[], Scored]


class Presentation(NamedTuple):
    """How a training batch is shown to the language model.

    template: Which of the prompt's templates, from 0.
    with_markers: False: prompts of titles alone, in which item vectors have no part.
    """

    template: int = 0
    with_markers: bool = True


AS_RANKED = Presentation()  # the way in which prompts are shown when ranking


class TeacherModel(nn.Module, ABC, Generic[Batch]):
    """A slow recommender whose knowledge is worth keeping; `Batch` is what it is trained on."""

    @abstractmethod
    def training_rows(self, dataset: Dataset, most: int, generator: torch.Generator) -> tuple[Rows[Batch], Tensor]:
        """Returns what is trained on, row by row, and how many tokens each row will have, `[rows]` int64.

        Args:
            dataset: A prepared dataset.
            most: Train examples, drawn at random; -1: all.
            generator: Of the draw, and of all that is drawn when a row is asked for.
        """

    @abstractmethod
    def validation_rows(self, dataset: Dataset, examples: Examples, with_seen: bool) -> Rows[ExampleBatch]:
        """Returns what is validated on, row by row; `with_seen`: with the items that do not compete."""

    @abstractmethod
    def prompt_lengths(self, history: Tensor) -> Tensor:
        """Returns how many tokens the prompts of histories `[B, L]` will have at most, `[B]` int64 on the CPU."""

    def presentation(self, done: float, generator: torch.Generator) -> Presentation:
        """Draws how the next training batch is shown, `done` being the share of the training that lies behind."""
        return AS_RANKED

    @abstractmethod
    def training_loss(self, batch: Batch, shown: Presentation = AS_RANKED) -> Tensor:
        """Returns the mean loss of a batch of `training_rows`, a scalar with gradients."""

    @abstractmethod
    def loss_weight(self, batch: Batch) -> Tensor:
        """Returns how many terms `training_loss` is the mean of, a scalar int64: parts of a batch count by it."""

    @abstractmethod
    def score(self, batch: ExampleBatch) -> Tensor:
        """Returns `[B, num_items]` float32 scores of the whole catalogue, column j for item j + 1, higher is better."""

    @abstractmethod
    def item_embeddings(self) -> Tensor:
        """Returns `[num_items, d_teacher]` float32, what the teacher ranks by; row j for item j + 1."""

    @abstractmethod
    def text_embeddings(self) -> Tensor:
        """Returns `[num_items, d]` float32, the frozen language model's encodings of the items' texts, as above."""

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
    def readings(self, dataset: Dataset, examples: Examples) -> Sequence[Reading]:
        """Cuts train examples into what suits the model, in whatever order; every example stands in one reading.

        Nothing is read yet, and each reading can be done by itself: several processes may share them.
        """

    def scores_in_batches(self, dataset: Dataset, examples: Examples) -> Iterator[Scored]:
        """Reads all of `readings`, one after the other."""
        for reading in self.readings(dataset, examples):
            yield reading.read()

    def read_together(self, dataset: Dataset) -> Tensor:
        """Returns a number for each train example, `[n]` int64: those of one number are read at once, at one price."""
        return torch.arange(len(dataset.examples["train"]))

    @abstractmethod
    def tokens_by_example(self, dataset: Dataset) -> Tensor:
        """Returns the tokens read to score each train example, `[n]` float64; examples read together share theirs."""


def best_items(scores: Tensor, k: int, excluded: Tensor | None) -> tuple[Tensor, Tensor]:
    """Returns what `TeacherModel.rank` does, from scores `[B, num_items]`.

    The scores say who is best: of flat distributions the log-probabilities of neighbours are the same float32 number.
    """
    items, best = top_k(scores, k, excluded)
    log_p = scores.log_softmax(1).gather(1, items - 1)
    return items, log_p.where(best > -torch.inf, best)
