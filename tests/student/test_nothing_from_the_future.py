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
from tests.student.students import NAMES, L, student
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
    data = StudentDataModule(dataset, L, model.causal, 12, 5, filter_seen=False, seed=0)
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


def test_a_student_of_ones_own_that_reads_ahead_is_refused():
    name, sizes = f"{__name__}:Everywhere", {"hidden_size": 8, "history_length": 6}
    with pytest.raises(UserError, match=r"Everywhere reads ahead: .* set causal = False"):
        create_student(name, 15, sizes)


def test_asking_a_student_whether_it_reads_ahead_draws_nothing_and_leaves_it_as_it_was():
    sizes = {"hidden_size": 8, "history_length": 6, "num_blocks": 1, "num_heads": 1, "dropout": 0.5}
    torch.manual_seed(0)
    made = create_student("sasrec", 15, sizes)
    after = torch.rand(3)
    torch.manual_seed(0)
    plain = STUDENTS["sasrec"](15, **sizes)
    assert torch.equal(torch.rand(3), after)
    assert made.training and all(torch.equal(a, b) for a, b in zip(made.parameters(), plain.parameters(), strict=True))
