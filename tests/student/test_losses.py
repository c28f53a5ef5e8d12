import math

import pytest
import torch
import torch.nn.functional as F

from src.student.factory import create_loss
from src.student.losses import BCE, GBCE, CrossEntropy, SampledSoftmax
from src.student.settings import LOSS_SETTINGS, SampledLossSettings
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
    assert loss.cumulative.device.type == loss.correction.device.type == "meta"
