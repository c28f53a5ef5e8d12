import math

import pytest
import torch
import torch.nn.functional as F

from src.student.factory import create_loss
from src.student.losses import BCE, GBCE, CrossEntropy, SampledSoftmax, catalogue_cross_entropies
from src.student.settings import LOSS_SETTINGS, SampledLossSettings
from src.training.softmax import Answers
from tests.student.students import NUM_ITEMS, D, shipped_loss, student

COUNTS = torch.tensor([8, 4, 2, 1, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 16])
TARGET = torch.tensor([1, 3, 15, 2])
SAMPLED = [name for name, kind in LOSS_SETTINGS.items() if issubclass(kind, SampledLossSettings)]


def states() -> torch.Tensor:
    return torch.randn(4, D, generator=torch.Generator().manual_seed(0)).requires_grad_()


def test_cross_entropy_is_over_the_catalogue():
    model, hidden = student("sasrec"), states()
    expected = F.cross_entropy(model.score(hidden), TARGET - 1)
    assert torch.allclose(CrossEntropy(torch.float32)(model, hidden, TARGET), expected, rtol=1e-5)


def test_cross_entropy_minds_a_bias():
    model, hidden, bias = student("sasrec"), states(), torch.randn(NUM_ITEMS, requires_grad=True)
    weight = model.item_table()[1:]
    model.output_layer = lambda: (weight, bias)
    loss = CrossEntropy(torch.float32)(model, hidden, TARGET)
    expected = F.cross_entropy(hidden @ weight.T + bias, TARGET - 1)
    assert torch.allclose(loss, expected, rtol=1e-5)
    found, wanted = (torch.autograd.grad(value, (hidden, bias)) for value in (loss, expected))
    assert all(torch.allclose(one, other, atol=1e-6) for one, other in zip(found, wanted, strict=True))


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("shared", [True, False])
def test_negatives_are_drawn_by_popularity(power, shared):
    torch.manual_seed(0)
    loss = BCE(COUNTS, 2000, power, shared)
    drawn = loss.draw(() if shared else (10,), torch.device("cpu"))
    assert drawn.shape == ((2000,) if shared else (10, 2000))
    share = torch.bincount(drawn.flatten(), minlength=NUM_ITEMS + 1)[1:] / drawn.numel()
    weight = torch.tensor([max(1, count) ** power for count in COUNTS.tolist()])
    assert torch.allclose(share, weight / weight.sum(), atol=0.03 if shared else 0.01)


def with_negatives(loss, negatives: torch.Tensor):
    """Makes the draw known."""
    loss.draw = lambda rows, device: negatives.expand(*rows, -1)
    return loss


NEGATIVES = torch.tensor([3, 3, 5, 1, 15, 7])


def literal(model, hidden, term) -> float:
    """Mean over positions of `term(own score, [(score, item) of each negative that is not the target])`."""
    total = 0.0
    for state, target in zip(hidden, TARGET.tolist(), strict=True):
        scores = (model.item_table() @ state).tolist()
        total += term(scores[target], [(scores[item], item) for item in NEGATIVES.tolist() if item != target])
    return total / len(TARGET)


def log_sigmoid(x: float) -> float:
    return -math.log1p(math.exp(-x))


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("correction", [True, False])
def test_sampled_softmax_equals_a_literal_loop(shared, correction):
    model, hidden = student("sasrec"), states()
    loss = with_negatives(SampledSoftmax(COUNTS, 6, 1.0, shared, correction), NEGATIVES)
    counts = [max(1, count) for count in COUNTS.tolist()]

    def term(own, others):
        weights = [sum(counts) / (6 * counts[item - 1]) if correction else 1 for _, item in others]
        everyone = math.exp(own) + sum(w * math.exp(s) for w, (s, _) in zip(weights, others, strict=True))
        return math.log(everyone) - own

    assert loss(model, hidden, TARGET).item() == pytest.approx(literal(model, hidden, term), rel=1e-5)


@pytest.mark.parametrize("power", [0.0, 1.0])
def test_the_corrected_sum_estimates_the_full_softmax_without_bias(power):
    torch.manual_seed(0)
    model, hidden = student("sasrec"), states().detach()
    loss = SampledSoftmax(COUNTS, 200_000, power, True, True)
    full = CrossEntropy(torch.float32)(model, hidden, TARGET)
    assert loss(model, hidden, TARGET).item() == pytest.approx(full.item(), rel=0.01)
    plain = SampledSoftmax(COUNTS, 200_000, power, True, False)(model, hidden, TARGET)
    assert plain > full + 1


ANSWERS = Answers(
    columns=torch.tensor([[0, 2], [4, 9], [14, 13], [5, 6]]),
    weights=torch.tensor([[0.5, 0.25], [0.1, 0.0], [1.0, 2.0], [0.3, 0.3]]),
    rest=torch.tensor([[0.25], [0.9], [0.0], [0.4]]),
)


@pytest.mark.parametrize("loss", [SampledSoftmax(COUNTS, 6, 1.0, True, False), BCE(COUNTS, 6, 1.0, False)])
@pytest.mark.parametrize("with_rest", [True, False])
def test_the_cross_entropy_of_several_answers_equals_a_literal_loop(loss, with_rest):
    model, hidden = student("sasrec"), states()
    counts = [max(1, count) for count in COUNTS.tolist()]
    total = 0.0
    for state, columns, weights, rest in zip(hidden, *(each.tolist() for each in ANSWERS), strict=True):
        scores = (model.item_table() @ state).tolist()
        answers = [column + 1 for column in columns]
        left = [
            math.exp(scores[item]) * sum(counts) / (6 * counts[item - 1])
            for item in NEGATIVES.tolist()
            if item not in answers
        ]
        everyone = sum(math.exp(scores[item]) for item in answers) + sum(left)
        total -= sum(
            weight * math.log(math.exp(scores[i]) / everyone) for weight, i in zip(weights, answers, strict=True)
        )
        total -= rest[0] * math.log(sum(left) / everyone) * with_rest
    answers = ANSWERS if with_rest else ANSWERS._replace(rest=None)
    found = with_negatives(loss, NEGATIVES).cross_entropy(model, hidden, answers)
    assert found.item() == pytest.approx(total / 4, rel=1e-5)


@pytest.mark.parametrize("power", [0.0, 1.0])
def test_the_sampled_cross_entropy_of_several_answers_estimates_the_full_one(power):
    torch.manual_seed(0)
    model, hidden = student("sasrec"), states()
    found = BCE(COUNTS, 200_000, power, True).cross_entropy(model, hidden, ANSWERS)
    wanted = catalogue_cross_entropies(model, hidden, {"it": ANSWERS}, torch.float32)["it"]
    assert found.item() == pytest.approx(wanted.item(), rel=0.01)
    gradient, expected = (torch.autograd.grad(each, hidden)[0] for each in (found, wanted))
    assert torch.allclose(gradient, expected, atol=0.02 * float(expected.abs().max()))


def test_where_all_that_was_drawn_are_answers_the_rest_says_nothing():
    model, hidden = student("sasrec"), states()
    loss = with_negatives(BCE(COUNTS, 1, 0.0, True), torch.tensor([1]))
    one = Answers(torch.tensor([[0]]), torch.tensor([[0.0]]), torch.tensor([[1.0]]))
    found = loss.cross_entropy(model, hidden[:1], one)
    (gradient,) = torch.autograd.grad(found, hidden)
    assert found.item() == 0 and not gradient.any()


@pytest.mark.parametrize("calibration", [0.0, 0.75, 1.0])
def test_gbce_equals_a_literal_loop(calibration):
    model, hidden = student("sasrec"), states()
    alpha = 6 / (NUM_ITEMS - 1)
    beta = alpha * (calibration * (1 - 1 / alpha) + 1 / alpha)

    def term(own, others):
        return -(beta * log_sigmoid(own) + sum(log_sigmoid(-score) for score, _ in others)) / 7

    loss = with_negatives(GBCE(COUNTS, 6, 0.0, True, calibration), NEGATIVES)
    assert loss(model, hidden, TARGET).item() == pytest.approx(literal(model, hidden, term), rel=1e-5)
    assert beta == pytest.approx(1 - calibration * (1 - alpha))


def test_bce_is_gbce_without_calibration():
    model, hidden = student("sasrec"), states()
    losses = [BCE(COUNTS, 6, 0.0, False), GBCE(COUNTS, 6, 0.0, False, calibration=0.0)]
    values = [with_negatives(loss, NEGATIVES)(model, hidden, TARGET).item() for loss in losses]
    assert values[0] == values[1]


@pytest.mark.parametrize("name", SAMPLED)
def test_a_seed_repeats_the_negatives(name):
    values = []
    model = student("sasrec")
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        values.append(create_loss(shipped_loss(name), COUNTS, torch.float32)(model, states(), TARGET).item())
    assert values[0] == values[1] != values[2]


def test_what_is_kept_for_every_item_moves_to_where_the_batches_are():
    loss = SampledSoftmax(COUNTS, 6, 1.0, True, True)
    loss.to(torch.device("meta"))
    assert loss.cumulative.device.type == loss.log_expected.device.type == "meta"
