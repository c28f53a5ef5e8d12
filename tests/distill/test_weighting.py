import torch
import torch.nn.functional as F

from src.distill.choices import WEIGHTINGS
from src.distill.listwise_losses import listwise_kl, probability_weights, softmax_ranking
from src.distill.weighting import DistillationBatch, importance, uniform

m, N, K, D = 6, 8, 3, 4


def batch(asked: list[int] | None = None) -> DistillationBatch:
    draw = torch.Generator().manual_seed(0)
    hidden, items = torch.randn(m, D, generator=draw, requires_grad=True), torch.randn(N, D, generator=draw)

    def gradient() -> torch.Tensor:
        if asked is not None:
            asked.append(1)
        return torch.randn(N, D, generator=torch.Generator().manual_seed(1))

    return DistillationBatch(
        hidden,
        hidden @ items.T,
        torch.randint(N, (m,), generator=draw),
        torch.rand(m, N, generator=draw).argsort(1)[:, :K],
        torch.rand(m, K, generator=draw).cumsum(1),
        gradient,
    )


def test_uniform_weighs_nothing_and_asks_for_nothing():
    asked = []
    assert importance(uniform, batch(asked)) is None
    importance(WEIGHTINGS["kl_divergence"], batch(asked))
    assert asked == []


def test_divergence_and_error_are_those_of_the_student():
    own = batch()
    for name, values in (
        ("kl_divergence", listwise_kl(own.scores, own.candidates, own.distance, 1.0)),
        ("ground_truth_error", F.cross_entropy(own.scores, own.target, reduction="none")),
    ):
        weights = importance(WEIGHTINGS[name], own)
        assert torch.allclose(weights, values / values.mean()) and not weights.requires_grad


def test_meta_follows_the_gradient_of_the_validation_loss():
    own, step = batch(), 1e-3
    moved = own.scores.double() + step * (own.hidden @ own.validation_gradient().T).double()
    candidates, weights = own.candidates, probability_weights(own.distance.double(), 1.0)
    before, after = (softmax_ranking(scores, candidates, weights) for scores in (own.scores.double(), moved))
    rise = after - before
    expected = (rise / step).clamp(min=0).float()
    assert (expected == 0).any() and (expected > 0).any()
    assert torch.allclose(importance(WEIGHTINGS["meta"], own), expected / expected.mean(), atol=2e-2)


def test_a_weighting_of_one_s_own_gets_no_gradient_and_has_a_mean_of_one():
    given = []

    def own(known: DistillationBatch) -> torch.Tensor:
        given.append(known)
        return known.scores.amax(1).exp()

    known = batch()
    weights = importance(own, known)
    assert not given[0].hidden.requires_grad and not given[0].scores.requires_grad
    expected = known.scores.amax(1).exp()
    assert torch.allclose(weights, expected / expected.mean()) and not weights.requires_grad
