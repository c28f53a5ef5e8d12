"""Whatever comes after a position, its target first of all, changes nothing that a student makes of it: for all."""

import pytest
import torch
from torch import Tensor, nn

from src.core.errors import UserError
from src.data.dataset import Dataset
from src.student.choices import STUDENTS
from src.student.datamodule import StudentDataModule
from src.student.factory import create_student
from src.student.losses import CrossEntropy
from src.student.models import SequentialRecommender
from src.student.settings import OptimisationSettings
from src.student.trainer_baseline import NextItemModule
from tests.student.students import NAMES, L, architecture, student
from tests.worlds import another_future, tiny_dataset

DATASET = tiny_dataset()


OTHER, PLACE = another_future()


def trained_on(name: str, dataset: Dataset, distilled: bool) -> Tensor:
    """Returns the scores `[examples, items]` that the loss is made of, by example id, as batches of training come."""
    model = student(name)
    if distilled:
        torch.manual_seed(0)
        model.items.distil_from(torch.randn(15, 3), 0.5)
    module = NextItemModule(model, CrossEntropy(torch.float32), OptimisationSettings(lr=0.01, max_epochs=1))
    data = StudentDataModule(dataset, L, model.causal, 0, 12, 5, filter_seen=False, seed=0)
    scores = torch.full((len(dataset.examples["train"]), 15), torch.nan)
    for batch in data.train_dataloader():
        hidden, target, example_id = module.states_with_targets(batch)
        ends = dataset.examples["train"].end[example_id] + dataset.offsets[dataset.examples["train"].user[example_id]]
        assert torch.equal(target, dataset.item_log[ends])
        scores[example_id] = model.score(hidden)
    return scores


@pytest.mark.parametrize("distilled", [False, True])
@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_in_training_no_score_knows_what_comes_after_it(name, distilled):
    ours, theirs = trained_on(name, DATASET, distilled), trained_on(name, OTHER, distilled)
    examples = DATASET.examples["train"]
    before = examples.end <= PLACE[examples.user]  # the target may differ, what stands before it may not
    assert ours.isfinite().all() and 3 < before.sum() < len(before) - 3
    torch.testing.assert_close(theirs[before], ours[before], rtol=1e-5, atol=1e-6)
    assert (theirs[~before] - ours[~before]).abs().max() > 1e-4


@pytest.mark.parametrize("split", ["train", "val", "test"])
@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_when_ranking_no_score_knows_what_comes_after_the_history(name, split):
    model, examples = student(name), DATASET.examples[split]
    ours, theirs = (model.predict(dataset.batch(examples, L).history) for dataset in (DATASET, OTHER))
    before = examples.end <= PLACE[examples.user]
    torch.testing.assert_close(theirs[before], ours[before], rtol=1e-5, atol=1e-6)
    assert before.all() or (theirs[~before] - ours[~before]).abs().max() > 1e-4


class Everywhere(SequentialRecommender):
    """Says that it is causal, and gives every position the mean of the whole history."""

    def __init__(self, num_items: int, hidden_size: int, history_length: int) -> None:
        super().__init__(num_items, hidden_size, history_length)
        self.out = nn.Linear(hidden_size, hidden_size)

    def encode(self, history: Tensor) -> Tensor:
        return self.out(self.items.lookup(history).mean(1, keepdim=True)).expand(-1, history.shape[1], -1)


class Gated(SequentialRecommender):
    """Says that it is causal, and adds what stands around a position through a gate that begins at zero (ReZero)."""

    def __init__(self, num_items: int, hidden_size: int, history_length: int) -> None:
        super().__init__(num_items, hidden_size, history_length)
        self.gate = nn.Parameter(torch.zeros(()))
        self.around = nn.MultiheadAttention(hidden_size, 2, batch_first=True)

    def encode(self, history: Tensor) -> Tensor:
        x = self.items.lookup(history)
        return x + self.gate * self.around(x, x, x, need_weights=False)[0]


class GatedAndCausal(Gated):
    """The same, with a mask."""

    def encode(self, history: Tensor) -> Tensor:
        x = self.items.lookup(history)
        later = torch.ones(history.shape[1], history.shape[1], dtype=torch.bool).triu(1)
        return x + self.gate * self.around(x, x, x, attn_mask=later, need_weights=False)[0]


class ZeroLast(Everywhere):
    """What it reads ahead goes through a layer that begins at zero."""

    def __init__(self, num_items: int, hidden_size: int, history_length: int) -> None:
        super().__init__(num_items, hidden_size, history_length)
        nn.init.zeros_(self.out.weight)

    def encode(self, history: Tensor) -> Tensor:
        return self.items.lookup(history) + super().encode(history)


class FromTheThirdOn(SequentialRecommender):
    """Says that it is causal, and shows each position of a history of more than two items the item two places on."""

    def encode(self, history: Tensor) -> Tensor:
        x = self.items.lookup(history)
        return x + 0.1 * torch.cat([x[:, 2:], torch.zeros_like(x[:, :2])], 1)


class OneState(SequentialRecommender):
    """Forgets to say that it is not causal."""

    def encode(self, history: Tensor) -> Tensor:
        return self.items.lookup(history).mean(1, keepdim=True)


@pytest.mark.parametrize("kind", [Everywhere, Gated, ZeroLast, FromTheThirdOn, OneState])
@pytest.mark.parametrize("length", [6, 50])
def test_a_student_of_ones_own_that_reads_ahead_is_refused(kind, length):
    name, sizes = f"{__name__}:{kind.__name__}", {"hidden_size": 8, "history_length": length}
    with pytest.raises(UserError, match=rf"{kind.__name__} reads ahead: .* set causal = False"):
        create_student(name, 15, sizes)


@pytest.mark.parametrize("num_items", [1, 15, 12_000])
@pytest.mark.parametrize("name", [*NAMES, f"{__name__}:GatedAndCausal"])
def test_no_student_that_hides_later_items_is_refused(name, num_items):
    sizes = {"hidden_size": 8, "history_length": 6} if ":" in name else {**architecture(name), "history_length": 30}
    assert create_student(name, num_items, sizes).num_items == num_items


@pytest.mark.parametrize("name", ["sasrec", "gru4rec", f"{__name__}:GatedAndCausal"])
def test_asking_a_student_whether_it_reads_ahead_draws_nothing_and_leaves_it_as_it_was(name):
    sizes = {"hidden_size": 8, "history_length": 6} if ":" in name else architecture(name, dropout=0.5)
    torch.manual_seed(0)
    made = create_student(name, 15, sizes)
    after = torch.rand(3)
    torch.manual_seed(0)
    plain = STUDENTS[name](15, **sizes)
    assert torch.equal(torch.rand(3), after)
    assert all(module.training for module in made.modules())
    assert all(torch.equal(a, b) for a, b in zip(made.parameters(), plain.parameters(), strict=True))
    history = torch.tensor([[1, 5, 3, 1, 9, 15]])
    assert torch.equal(made.eval().encode(history), plain.eval().encode(history))
