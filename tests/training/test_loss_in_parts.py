import logging

import pytest
import torch
from torch import Tensor

from src.data.rows import TrainingWindows
from src.teacher.user_pass import UserPassModel
from src.training.loss_in_parts import LossInParts
from tests.teacher.teachers import first_batch, tiny_teacher
from tests.worlds import tiny_dataset

DATASET = tiny_dataset()
EXAMPLES = first_batch(DATASET, 7)
WINDOWS = TrainingWindows(DATASET, 4)[torch.arange(7)]


class Small:
    """The loss of a machine that holds so many rows; counts how often it was asked and for how many."""

    def __init__(self, model, rows: int) -> None:
        self.model, self.rows, self.asked = model, rows, []

    def __call__(self, batch) -> Tensor:
        self.asked.append(len(batch.target))
        if len(batch.target) > self.rows:
            raise torch.OutOfMemoryError("no room")
        return self.model.training_loss(batch)


def gradients(model, loss) -> list[Tensor]:
    model.zero_grad()
    loss.backward()
    return [p.grad.clone() for p in model.parameters() if p.grad is not None]


@pytest.mark.parametrize(("kind", "batch"), [(None, EXAMPLES), (UserPassModel, WINDOWS)])
@pytest.mark.parametrize("rows", [1, 2, 4])
def test_a_batch_in_parts_has_the_loss_and_the_gradients_of_the_whole(kind, batch, rows):
    model = tiny_teacher(DATASET, **({"kind": kind} if kind else {}))
    whole = model.training_loss(batch)
    expected = gradients(model, whole)
    parts = LossInParts(Small(model, rows))(batch)
    torch.testing.assert_close(parts, whole, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(gradients(model, parts), expected, rtol=1e-4, atol=1e-6)


def test_parts_stay_and_are_told_once(caplog):
    small = Small(tiny_teacher(DATASET), rows=4)
    loss = LossInParts(small)
    with caplog.at_level(logging.WARNING):
        loss(EXAMPLES)
        loss(EXAMPLES)
    assert loss.parts == 2
    assert small.asked == [7, 4, 3, 4, 3]
    assert [record.args for record in caplog.records] == [(7, 2)]


def test_while_there_is_room_nothing_is_computed_twice():
    small = Small(tiny_teacher(DATASET), rows=7)
    LossInParts(small)(EXAMPLES).backward()
    assert small.asked == [7]


def test_a_row_that_does_not_fit_by_itself_is_out_of_memory():
    with pytest.raises(torch.OutOfMemoryError):
        LossInParts(Small(tiny_teacher(DATASET), rows=0))(EXAMPLES)
