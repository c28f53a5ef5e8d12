import pytest
import torch
import torch.nn.functional as F

from src.core.errors import UserError
from src.distill.listwise_losses import listwise_kl, probability_weights, softmax_ranking
from src.distill.weighting import UNIFORM, Lesson, check_weighting, importance

m, N, K, D = 6, 8, 3, 4


def lesson(asked: list[int] | None = None) -> Lesson:
    draw = torch.Generator().manual_seed(0)
    hidden, items = torch.randn(m, D, generator=draw, requires_grad=True), torch.randn(N, D, generator=draw)

    def gradient() -> torch.Tensor:
        if asked is not None:
            asked.append(1)
        return torch.randn(N, D, generator=torch.Generator().manual_seed(1))

    return Lesson(
        hidden,
        hidden @ items.T,
        torch.randint(N, (m,), generator=draw),
        torch.rand(m, N, generator=draw).argsort(1)[:, :K],
        torch.rand(m, K, generator=draw).cumsum(1),
        gradient,
    )


def test_uniform_weighs_nothing_and_asks_for_nothing():
    asked = []
    assert importance(UNIFORM, lesson(asked)) is None
    importance("kl_divergence", lesson(asked))
    assert asked == []


def test_divergence_and_error_are_those_of_the_student():
    own = lesson()
    for name, values in (
        ("kl_divergence", listwise_kl(own.scores, own.candidates, own.distance, 1.0)),
        ("ground_truth_error", F.cross_entropy(own.scores, own.target, reduction="none")),
    ):
        weights = importance(name, own)
        assert torch.allclose(weights, values / values.mean()) and not weights.requires_grad


def test_meta_follows_the_gradient_of_the_validation_loss():
    own, step = lesson(), 1e-3
    moved = own.scores.double() + step * (own.hidden @ own.validation_gradient().T).double()
    candidates, weights = own.candidates, probability_weights(own.distance.double(), 1.0)
    before, after = (softmax_ranking(scores, candidates, weights) for scores in (own.scores.double(), moved))
    rise = after - before
    expected = (rise / step).clamp(min=0).float()
    assert (expected == 0).any() and (expected > 0).any()
    assert torch.allclose(importance("meta", own), expected / expected.mean(), atol=2e-2)


def test_an_unknown_weighting_is_named_with_those_that_exist():
    with pytest.raises(UserError, match=r"distill\.weighting=mta is not known: use one of uniform, kl_div.*, meta"):
        check_weighting("mta")
    check_weighting(UNIFORM)
