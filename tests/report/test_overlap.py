import pytest
import torch

from src.report.overlap import in_common, overlap
from tests.report.models import model, trained


def test_items_in_common_are_counted_without_what_stands_behind_a_list():
    first = torch.tensor([[1, 2, 3], [1, 2, 3], [4, 0, 0]])
    second = torch.tensor([[3, 1, 9], [7, 8, 9], [5, 0, 0]])
    assert in_common(first, second).tolist() == [2, 0, 0]


def test_lists_and_finds_of_two_models_by_hand():
    first = model(trained([1, 3, 1, 5], [[1, 2], [3, 4], [5, 6], [7, 8]], name="A"))
    second = model(trained([2, 2, 9, 9], [[2, 1], [3, 9], [1, 2], [3, 4]], name="B"))
    found = overlap(first, second, k=2)
    assert (found.first, found.second) == ("A", "B")
    assert found.shares.tolist() == [0.5, 0.25, 0.25]
    assert found.mean == pytest.approx(0.75)
    assert (found.both, found.first_alone, found.second_alone, found.neither) == (0.25, 0.25, 0.25, 0.25)


def test_every_training_is_paired_with_every_other():
    teacher = model(trained([1], [[1, 2]]))
    student = model(trained([1], [[1, 2]]), trained([9], [[3, 4]]))
    found = overlap(teacher, student, k=2)
    assert found.shares.tolist() == [0.5, 0, 0.5]
    assert (found.both, found.first_alone) == (0.5, 0.5)
