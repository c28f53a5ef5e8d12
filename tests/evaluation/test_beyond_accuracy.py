import pytest
import torch

from src.evaluation.beyond_accuracy import RecommendationLists

COUNTS = torch.tensor([0, 8, 4, 2, 0, 1])  # five items


def test_a_table_worked_by_hand():
    lists = RecommendationLists(COUNTS, ks=[1, 2])
    lists.add(torch.tensor([[1, 2], [1, 4]]))
    lists.add(torch.tensor([[3, 1]]))
    assert lists.metrics() == pytest.approx(
        {
            "Coverage@1": 2 / 5,  # items 1 and 3
            "ARP@1": (8 + 8 + 2) / 3,
            "Coverage@2": 4 / 5,  # all but item 5
            "ARP@2": (12 / 2 + 8 / 2 + 10 / 2) / 3,
        }
    )


def test_what_stands_behind_a_short_list_is_no_item():
    lists = RecommendationLists(COUNTS, ks=[1, 3])
    lists.add(torch.tensor([[2, 0, 0], [2, 3, 0]]))
    assert lists.metrics() == pytest.approx(
        {"Coverage@1": 1 / 5, "ARP@1": 4, "Coverage@3": 2 / 5, "ARP@3": (4 + 3) / 2}
    )


def test_chunks_change_nothing():
    items = torch.stack([torch.randperm(5)[:3] + 1 for _ in range(9)])
    whole, parts = RecommendationLists(COUNTS, [1, 2, 3]), RecommendationLists(COUNTS, [1, 2, 3])
    whole.add(items)
    for part in items.split(4):
        parts.add(part)
    assert parts.metrics() == pytest.approx(whole.metrics())
