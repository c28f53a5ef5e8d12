import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from src.evaluation.slices import POPULARITY_GROUPS, Slicing, bucket_names, popularity_groups, slice_metrics, slicings
from tests.worlds import dataset_of


def named(counts: list[int]) -> list[str]:
    """The group of each item; `counts` without padding."""
    padding, *groups = popularity_groups(torch.tensor([0, *counts])).tolist()
    assert padding == -1
    return [POPULARITY_GROUPS[group] for group in groups]


def test_groups_by_hand():
    # 20 of 100 interactions: item 1 alone is the head; 5 + 5 + 6 are less than 20, with 9 more they would be 25
    assert named([30, 25, 20, 9, 6, 5, 5, 0]) == ["head", "mid", "mid", "mid", "tail", "tail", "tail", "cold"]


def test_the_borders_belong_to_mid_and_to_tail():
    # items above the second hold exactly 20 %; the last two hold exactly 20 %
    assert named([20, 19, 18, 12, 11, 10, 10]) == ["head", "mid", "mid", "mid", "mid", "tail", "tail"]


def test_items_of_the_same_count_stay_together():
    assert named([5, 5, 5]) == ["head"] * 3
    assert named([2, 1, 1, 0]) == ["head", "mid", "mid", "cold"]  # the two hold half, too much for a tail


@given(st.lists(st.integers(0, 20), min_size=1, max_size=15))
def test_groups_equal_the_sentence_that_defines_them(counts):
    total = sum(counts)
    for count, group in zip(counts, named(counts), strict=True):
        above = sum(other for other in counts if other > count)
        up_to = sum(other for other in counts if other <= count)
        expected = "head" if above < total / 5 else "tail" if up_to <= total / 5 else "mid"
        assert group == ("cold" if count == 0 else expected)


def test_buckets_are_named_by_their_shortest_and_longest():
    assert bucket_names([5, 10, 50]) == ("1-5", "6-10", "11-50", "51+")
    assert bucket_names([1, 2]) == ("1", "2", "3+")


def test_examples_are_parted_by_target_and_by_whole_history():
    logs = [[1, 1, 1, 2, 1], [1, 1, 3, 4], [1, 2, 3, 1, 2, 3, 2]]
    parts = slicings(dataset_of(logs, ["a", "b", "c", "d"]), "test", [3, 5])
    # training counts: item 1 seven times, 2 twice, 3 once, 4 never
    popularity, history = parts["target popularity"], parts["history length"]
    assert [popularity.names[place] for place in popularity.slice_of] == ["head", "cold", "mid"]
    assert [history.names[place] for place in history.slice_of] == ["4-5", "1-3", "6+"]


def test_figures_of_a_slice_by_hand():
    slicing = Slicing(("short", "long", "longer"), torch.tensor([0, 1, 0]))
    figures = slice_metrics(torch.tensor([1, 2, 11]), slicing, 10)
    assert figures == {
        "short": {"n": 2, "HR@10": 0.5, "NDCG@10": 0.5},
        "long": {"n": 1, "HR@10": 1.0, "NDCG@10": pytest.approx(1 / math.log2(3))},
        "longer": {"n": 0, "HR@10": None, "NDCG@10": None},
    }
