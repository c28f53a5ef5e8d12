import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from src.core.errors import UserError
from src.core.settings_reading import read_settings
from src.distill.listwise_losses import (
    LIST_LOSSES,
    ListLoss,
    create_list_losses,
    listwise_kl,
    probability_weights,
    rank_weights,
    softmax_ranking,
)
from src.distill.settings import DistillSettings
from src.student.models import SequentialRecommender
from tests.student.students import NUM_ITEMS, histories, student

B, N, K = 4, 9, 3


def example(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    candidates = torch.rand(B, N, generator=draw).argsort(1)[:, :K]
    scores = 3 * torch.randn(B, N, generator=draw, dtype=torch.float64)
    return scores, candidates, torch.rand(B, K, generator=draw, dtype=torch.float64).cumsum(1)


def softmax(values: list[float]) -> list[float]:
    total = sum(math.exp(value) for value in values)
    return [math.exp(value) / total for value in values]


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_kl_is_the_sum_over_the_teacher_s_list(temperature):
    scores, candidates, distance = example()
    found = listwise_kl(scores, candidates, distance, temperature)
    for b in range(B):
        p = softmax([-d / temperature for d in distance[b].tolist()])
        q = softmax([scores[b, c].item() / temperature for c in candidates[b].tolist()])
        expected = temperature**2 * sum(x * math.log(x / y) for x, y in zip(p, q, strict=True))
        assert found[b].item() == pytest.approx(expected)


def test_kl_is_zero_where_the_student_says_the_same_and_takes_no_notice_of_other_items():
    scores, candidates, distance = example()
    agreeing = scores.scatter(1, candidates, -distance + 7)
    assert torch.allclose(listwise_kl(agreeing, candidates, distance, 2.0), torch.zeros(B, dtype=torch.float64))


@pytest.mark.parametrize("temperature", [0.5, 3.0])
def test_softmax_rankings_are_literal_sums(temperature):
    scores, candidates, distance = example()
    by_rank = softmax_ranking(scores, candidates, rank_weights(K, temperature))
    by_probability = softmax_ranking(scores, candidates, probability_weights(distance, temperature))
    for b in range(B):
        log_q = [math.log(value) for value in softmax(scores[b].tolist())]
        ranks = softmax([-k / temperature for k in range(1, K + 1)])
        teacher = softmax([-d / temperature for d in distance[b].tolist()])
        for found, weights in ((by_rank, ranks), (by_probability, teacher)):
            expected = -sum(w * log_q[c] for w, c in zip(weights, candidates[b].tolist(), strict=True))
            assert found[b].item() == pytest.approx(expected)


def test_one_sure_candidate_is_cross_entropy():
    scores, candidates, _ = example()
    sure = torch.tensor([1.0, 0.0, 0.0])
    expected = torch.nn.functional.cross_entropy(scores, candidates[:, 0], reduction="none")
    assert torch.allclose(softmax_ranking(scores, candidates, sure), expected)


@given(st.integers(1, 30), st.floats(0.1, 100))
@settings(deadline=None)
def test_weights_sum_to_one_and_fall(K, temperature):
    distance = torch.rand(2, K, generator=torch.Generator().manual_seed(K)).sort(1).values
    for weights in (rank_weights(K, temperature).unsqueeze(0), probability_weights(distance, temperature)):
        assert torch.allclose(weights.sum(1), torch.ones(len(weights)), atol=1e-5)
        assert (weights >= 0).all() and (weights.diff(dim=1) <= 1e-6).all()


def loss(name: str, weight: float = 1.0) -> ListLoss:
    return ListLoss(name, weight, 2.0, torch.float32)


def student_and_states() -> tuple[SequentialRecommender, torch.Tensor]:
    model = student("gru4rec_paper")  # its output layer has a bias
    with torch.no_grad():
        return model, model.encode(histories())[:, 0]


def taught() -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(0)
    return torch.rand(4, NUM_ITEMS, generator=draw).argsort(1)[:, :K], torch.rand(4, K, generator=draw).cumsum(1)


@pytest.mark.parametrize("importance", [None, torch.tensor([2.0, 0.0, 1.5, 0.5])])
def test_losses_of_states_are_those_of_their_scores(importance):
    (model, hidden), (candidates, distance) = student_and_states(), taught()
    scores = model.score(hidden)
    expected = {
        "kl": listwise_kl(scores, candidates, distance, 2.0),
        "rd": softmax_ranking(scores, candidates, rank_weights(K, 2.0)),
        "soft_targets": softmax_ranking(scores, candidates, probability_weights(distance, 2.0)),
    }
    assert set(expected) == set(LIST_LOSSES)
    for name, each in expected.items():
        whole = each if importance is None else importance * each
        found = loss(name, 0.3)(model, hidden, candidates, distance, importance)
        assert torch.allclose(found, 0.3 * whole.mean(), atol=1e-6), name


@pytest.mark.parametrize("importance", [None, torch.tensor([2.0, 0.0, 1.5, 0.5])])
def test_with_their_rest_soft_targets_are_the_cross_entropy_to_what_is_known_of_the_distribution(importance):
    (model, hidden), candidates = student_and_states(), taught()[0]
    p = torch.rand(4, NUM_ITEMS, generator=torch.Generator().manual_seed(1)).softmax(1)
    distance, q = -p.gather(1, candidates).log(), model.score(hidden).softmax(1)
    others = torch.ones_like(p).scatter(1, candidates, 0)
    known = -(p * (1 - others) * q.log()).sum(1)
    expected = known - (p * others).sum(1) * (q * others).sum(1).log()
    expected = expected if importance is None else importance * expected
    found = ListLoss("soft_targets", 0.3, 1.0, torch.float32, rest=True)(
        model, hidden, candidates, distance, importance
    )
    assert torch.allclose(found, 0.3 * expected.mean(), atol=1e-6)


@given(st.permutations(range(K)))
@settings(deadline=None, max_examples=10)
def test_only_the_rank_weights_look_at_the_order_of_the_list(order):
    (model, hidden), (candidates, distance) = student_and_states(), taught()
    for name in LIST_LOSSES:
        same = torch.allclose(
            loss(name)(model, hidden, candidates[:, order], distance[:, order], None),
            loss(name)(model, hidden, candidates, distance, None),
        )
        assert same == (name != "rd" or list(order) == sorted(order))


def test_only_what_has_a_weight_is_made():
    assert create_list_losses(read_settings(DistillSettings, {}), torch.float32) == []
    given_ = read_settings(DistillSettings, {"rd": {"weight": 0.25, "temperature": 2.0}})
    assert create_list_losses(given_, torch.bfloat16) == [ListLoss("rd", 0.25, 2.0, torch.bfloat16)]
    all_of_them = {name: {"weight": place + 1.0, "temperature": place + 2.0} for place, name in enumerate(LIST_LOSSES)}
    assert create_list_losses(read_settings(DistillSettings, all_of_them), torch.float32) == [
        ListLoss(name, place + 1.0, place + 2.0, torch.float32) for place, name in enumerate(LIST_LOSSES)
    ]


def test_a_rest_is_of_soft_targets_alone_and_at_no_other_temperature():
    settings = read_settings(DistillSettings, {"soft_targets": {"weight": 2.0, "rest": True}, "rd": {"weight": 1.0}})
    assert [(each.name, each.rest) for each in create_list_losses(settings, torch.float32)] == [
        ("rd", False),
        ("soft_targets", True),
    ]
    with pytest.raises(UserError, match=r"soft_targets\.temperature must be 1 where soft_targets\.rest=true"):
        read_settings(DistillSettings, {"soft_targets": {"weight": 2.0, "rest": True, "temperature": 2.0}})
