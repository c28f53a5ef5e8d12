import logging
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from src.data.rows import TrainingWindows
from src.teacher.ilora_model import ILoRAModel
from src.teacher.user_pass import UserPassModel
from src.training.loss_in_parts import LossInParts
from tests.teacher.generation import writers
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
    parts = LossInParts(Small(model, rows), model.loss_weight)(batch)
    torch.testing.assert_close(parts, whole, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(gradients(model, parts), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("parts", [2, 3, 4])
@pytest.mark.parametrize("objective", ["example", "user", "generation"])
def test_any_number_of_parts_gives_the_whole_for_every_objective(objective, parts):
    """Answers of 18 and of 19 tokens, windows of one target and of four: a mean of means would be another."""
    if objective == "generation":
        model, batch = writers.teacher_of(title_tokens=30), writers.batch_of(7)
        assert len({len(model.prompts.answers[item]) for item in batch.target.tolist()}) > 1
    else:
        kind, batch = {"example": (ILoRAModel, EXAMPLES), "user": (UserPassModel, WINDOWS)}[objective]
        model = tiny_teacher(DATASET, kind=kind)
    whole = model.training_loss(batch)
    expected = gradients(model, whole)
    loss = LossInParts(model.training_loss, model.loss_weight)
    loss.parts = parts
    in_parts = loss(batch)
    torch.testing.assert_close(in_parts, whole, rtol=1e-6, atol=0)
    torch.testing.assert_close(gradients(model, in_parts), expected, rtol=1e-4, atol=1e-5)


def statistics(model) -> Tensor:
    return torch.cat([each.flatten().float() for each in model.router.buffers()])


def test_parts_of_a_router_with_batch_statistics_are_batches_of_their_own_each_counted_once():
    def fresh():
        return tiny_teacher(DATASET, router="resnet").train()

    literal = fresh()
    losses = []
    for rows in torch.arange(7).tensor_split(2):
        part = replace(EXAMPLES, **{name: of[rows] for name, of in vars(EXAMPLES).items() if of is not None})
        losses.append(len(rows) / 7 * literal.training_loss(part))
    expected = gradients(literal, sum(losses))
    model = fresh()
    loss = LossInParts(Small(model, 4), model.loss_weight, model.router.buffers)
    found = loss(EXAMPLES)
    torch.testing.assert_close(found, sum(losses), rtol=1e-5, atol=0)
    torch.testing.assert_close(gradients(model, found), expected, rtol=1e-4, atol=1e-6)
    assert torch.equal(statistics(model), statistics(literal))
    assert abs(found - fresh().training_loss(EXAMPLES)) > 1e-6  # not the whole batch's: told in words


def test_what_a_repeated_pass_counted_is_forgotten():
    model = tiny_teacher(DATASET, router="resnet").train()
    loss = LossInParts(model.training_loss, model.loss_weight, model.router.buffers)
    loss(EXAMPLES)
    again = loss.again()  # as where the backward pass ran out of memory
    again.backward()
    other = tiny_teacher(DATASET, router="resnet").train()
    in_parts = LossInParts(other.training_loss, other.loss_weight, other.router.buffers)
    in_parts.parts = 2
    in_parts(EXAMPLES).backward()
    assert torch.equal(statistics(model), statistics(other))


def test_parts_stay_and_are_told_once(caplog):
    small = Small(tiny_teacher(DATASET), rows=4)
    loss = LossInParts(small, small.model.loss_weight)
    with caplog.at_level(logging.WARNING):
        loss(EXAMPLES)
        loss(EXAMPLES)
    assert loss.parts == 2
    assert small.asked == [7, 4, 3, 4, 3]
    assert [record.args for record in caplog.records] == [(7, 2)]


def test_while_there_is_room_nothing_is_computed_twice():
    small = Small(tiny_teacher(DATASET), rows=7)
    LossInParts(small, small.model.loss_weight)(EXAMPLES).backward()
    assert small.asked == [7]


def test_a_row_that_does_not_fit_by_itself_is_out_of_memory():
    model = tiny_teacher(DATASET)
    with pytest.raises(torch.OutOfMemoryError):
        LossInParts(Small(model, rows=0), model.loss_weight)(EXAMPLES)
