import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchmetrics.functional.retrieval import retrieval_hit_rate, retrieval_normalized_dcg, retrieval_recall

from src.core.metrics import hit_ratio, mean_metrics, ndcg, rank_of_target, recall, top_k


def literal_rank(scores: list[float], target: int, excluded: list[int]) -> int:
    """Sorts the competitors, the target last among its equals."""
    rivals = [s for item, s in enumerate(scores, start=1) if item != target and item not in excluded]
    return 1 + sum(s >= scores[target - 1] for s in rivals)


def test_a_table_worked_by_hand():
    scores = torch.tensor([[0.1, 0.9, 0.5, 0.5], [0.4, 0.3, 0.2, 0.1]])
    assert rank_of_target(scores, torch.tensor([3, 1])).tolist() == [3, 1]  # item 4 ties with 3 and counts against it
    assert rank_of_target(scores, torch.tensor([3, 3]), excluded=torch.tensor([[2, 4], [1, 0]])).tolist() == [1, 2]


def test_item_one_is_an_item_and_zero_is_padding():
    scores = torch.tensor([[3.0, 2.0, 1.0]])
    assert rank_of_target(scores, torch.tensor([2]), excluded=torch.tensor([[0, 0]])).item() == 2
    assert rank_of_target(scores, torch.tensor([2]), excluded=torch.tensor([[1, 0]])).item() == 1


def test_the_target_competes_even_when_it_was_seen():
    assert rank_of_target(torch.tensor([[1.0, 2.0]]), torch.tensor([1]), excluded=torch.tensor([[1]])).item() == 2


def test_a_constant_model_ranks_last():
    assert rank_of_target(torch.zeros(1, 7), torch.tensor([4])).item() == 7


def test_nan_is_refused():
    with pytest.raises(ValueError, match="NaN"):
        rank_of_target(torch.tensor([[0.0, math.nan]]), torch.tensor([1]))


@given(
    st.lists(st.integers(-3, 3), min_size=1, max_size=12), st.integers(0, 100), st.lists(st.integers(0, 12), max_size=5)
)
@settings(deadline=None)
def test_rank_equals_the_literal_count(values, pick, seen):
    target = 1 + pick % len(values)
    seen = [item for item in seen if item <= len(values)]
    rank = rank_of_target(
        torch.tensor([values], dtype=torch.float), torch.tensor([target]), torch.tensor([seen], dtype=torch.long)
    )
    assert rank.item() == literal_rank(values, target, seen)


@pytest.mark.parametrize("k", [1, 5, 10, 20])
def test_metrics_agree_with_torchmetrics(k):
    scores = torch.rand(40, 30, generator=torch.Generator().manual_seed(0))
    target = torch.arange(40) % 30 + 1
    rank = rank_of_target(scores, target)
    for row in range(40):
        relevant = torch.zeros(30, dtype=torch.bool)
        relevant[target[row] - 1] = True
        assert hit_ratio(rank, k)[row].item() == retrieval_hit_rate(scores[row], relevant, top_k=k).item()
        assert recall(rank, k)[row].item() == retrieval_recall(scores[row], relevant, top_k=k).item()
        expected = retrieval_normalized_dcg(scores[row], relevant, top_k=k).item()
        assert ndcg(rank, k)[row].item() == pytest.approx(expected, abs=1e-6)


def test_means_are_named_after_kind_and_k():
    means = mean_metrics(torch.tensor([1, 3]), ks=[1, 5])
    assert means == pytest.approx(
        {"HR@1": 0.5, "NDCG@1": 0.5, "Recall@1": 0.5, "HR@5": 1.0, "NDCG@5": 0.75, "Recall@5": 1.0}
    )


def test_top_k_leaves_excluded_items_out():
    items, scores = top_k(torch.tensor([[0.3, 0.9, 0.5]]), k=2, excluded=torch.tensor([[2, 0]]))
    assert items.tolist() == [[3, 1]]
    assert scores.tolist() == [[0.5, pytest.approx(0.3)]]
