"""Which train examples the teacher is asked about: an LLM costs seconds per example, so asking is a choice."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from ..data.batches import token_batches
from ..data.dataset import Dataset
from ..data.rows import TrainingExamples, TrainingWindows
from ..student.models import SequentialRecommender
from .choices import POLICIES
from .informativeness import committee_divergence, ground_truth_error, look_ahead, output_gradient
from .settings import ActiveSettings

POSITIONS = 512  # positions whose scores of the whole catalogue are held at once
COMMITTEE = 4  # members, readings of one student under different dropout
VALIDATION_EXAMPLES = 4096  # the most behind the gradient of the validation loss


@dataclass(frozen=True)
class Pool:
    """The train examples to choose from, and the student that has learned from them without a teacher.

    dataset: A prepared dataset.
    student: Trained on it, in evaluation mode.
    together: `[n]` int64, examples of one number are read by the teacher at once (`TeacherModel.read_together`): they
        are asked about together, or not at all.
    seed: Of the committee's dropout.
    """

    dataset: Dataset
    student: SequentialRecommender
    together: Tensor
    seed: int

    @property
    def example_id(self) -> Tensor:
        return self.dataset.examples["train"].example_id

    @torch.no_grad()
    def states(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Yields rows `[m]`, the student's states `[m, D]` and target columns `[m]` until every example was there."""
        device = self.student.item_table().device
        rows = TrainingWindows if self.student.causal else TrainingExamples
        training = rows(self.dataset, self.student.history_length)
        for chosen in token_batches(training.num_targets, POSITIONS):
            batch = training[chosen].to(device)
            real = batch.target > 0
            yield (
                (batch.example_id[real] - self.example_id[0]).cpu(),
                self.student.states_of(batch),
                batch.target[real] - 1,
            )

    @torch.no_grad()
    def validation_gradient(self) -> Tensor:
        """Returns the gradient of the validation loss at the student's output layer, `[N, D]`."""
        examples = self.dataset.examples["val"].sample(VALIDATION_EXAMPLES, torch.Generator().manual_seed(self.seed))
        total = torch.zeros_like(self.student.output_layer()[0])
        for part in torch.arange(len(examples)).split(POSITIONS):
            batch = self.dataset.batch(examples.subset(part), self.student.history_length).to(total.device)
            hidden = self.student.user_representation(batch.history)
            total += len(part) * output_gradient(hidden, self.student.score(hidden), batch.target - 1)
        return total / len(examples)


class SelectionPolicy(ABC):
    """Draws a share of the examples without replacement, each with a probability that grows with its value.

    Args:
        share: Of the train examples, in (0, 1]; at least one is asked about.
    """

    def __init__(self, share: float) -> None:
        self.share = share

    @abstractmethod
    def values(self, pool: Pool) -> Tensor:
        """Returns what asking about each example promises, `[n]` float, 0 or above."""

    def select(self, pool: Pool, generator: torch.Generator) -> Tensor:
        """Returns the ids of the examples to ask about, `[m]` int64, ascending, each once.

        Examples that are read together count with the mean of their values. They are drawn one after the other, in
        proportion to the values that are left (Efraimidis & Spirakis 2006), until the share is reached; the last ones
        drawn may exceed it.
        """
        _, group, size = pool.together.unique(return_inverse=True, return_counts=True)
        value = torch.zeros(len(size), dtype=torch.float64).index_add_(0, group, self.values(pool).double()) / size
        luck = torch.rand(len(size), generator=generator, dtype=torch.float64).log()
        order = (luck / value).nan_to_num(-torch.inf, neginf=-torch.inf).argsort(descending=True, stable=True)
        wanted = max(1, round(self.share * len(group)))
        before = size[order].cumsum(0) - size[order]
        chosen = torch.zeros(len(size), dtype=torch.bool).index_fill_(0, order[before < wanted], True)
        return pool.example_id[chosen[group]].sort().values


class SelectionPolicyRandom(SelectionPolicy):
    """A random share."""

    def values(self, pool: Pool) -> Tensor:
        return torch.ones(len(pool.example_id))


class SelectionPolicyAll(SelectionPolicyRandom):
    """Every train example; the share is 1."""


class SelectionPolicyGroundTruthError(SelectionPolicy):
    """Rather what the student gets wrong: value is its loss on the example."""

    def values(self, pool: Pool) -> Tensor:
        found = torch.empty(len(pool.example_id))
        for rows, hidden, target in pool.states():
            found[rows] = ground_truth_error(pool.student.score(hidden), target).cpu()
        return found


class SelectionPolicyKLDivergence(SelectionPolicy):
    """Rather what the student is unsure of: value is the divergence of a committee, one student read under several
    dropout masks, from its consensus. (The teacher's own distribution is what is to be paid for.)
    """

    def values(self, pool: Pool) -> Tensor:
        found = torch.empty(len(pool.example_id))
        with torch.random.fork_rng():
            torch.manual_seed(pool.seed)
            pool.student.train()
            members = [pool.states() for _ in range(COMMITTEE)]
            for readings in zip(*members, strict=True):
                scores = [pool.student.score(hidden) for _, hidden, _ in readings]
                found[readings[0][0]] = committee_divergence(scores).cpu()
            pool.student.eval()
        return found


class SelectionPolicyMeta(SelectionPolicy):
    """Rather what lowers the validation loss: value is the gain of one small step on the example (`look_ahead`)."""

    def values(self, pool: Pool) -> Tensor:
        found, gradient = torch.empty(len(pool.example_id)), pool.validation_gradient()
        for rows, hidden, target in pool.states():
            loss = partial(F.cross_entropy, target=target, reduction="none")
            found[rows] = look_ahead(hidden, pool.student.score(hidden), gradient, loss).cpu()
        return found


def create_selection_policy(settings: ActiveSettings) -> SelectionPolicy:
    """Returns the policy that `settings` describe.

    Raises:
        UserError: There is none of that name.
    """
    policy: SelectionPolicy = POLICIES[settings.policy](settings.share)
    return policy
