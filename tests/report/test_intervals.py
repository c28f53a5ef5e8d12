import numpy as np
import pytest
import torch

from src.evaluation.slices import Slicing
from src.report.intervals import estimate, gains_by_slice, of_group


def test_a_mean_is_over_interactions_and_its_interval_over_users():
    values, user = np.array([1.0, 0.0, 0.0, 1.0, 1.0, 0.0]), np.array([0, 0, 0, 1, 2, 3])
    found = estimate(values, user)
    assert found.mean == pytest.approx(0.5)
    assert 0 <= found.low < 0.5 < found.high <= 1


def test_one_user_alone_has_no_interval():
    found = estimate(np.array([1.0, 0.0]), np.array([7, 7]))
    assert (found.mean, found.low, found.high) == (0.5, None, None)


def test_gains_are_told_slice_by_slice_and_empty_slices_have_none():
    before, after = np.array([0.0, 1.0, 0.5]), np.array([1.0, 1.0, 0.0])
    slicing = Slicing(("a", "b", "c"), torch.tensor([0, 0, 2]))
    first, second, third = gains_by_slice(before, after, np.arange(3), slicing)
    assert (first.name, first.interactions, first.before, first.after, first.gain.mean) == ("a", 2, 0.5, 1.0, 0.5)
    assert (second.interactions, second.before, second.after, second.gain) == (0, None, None, None)
    assert (third.gain.mean, third.gain.low) == (-0.5, None)


def test_means_of_groups():
    values = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]])
    first, second = of_group(values, Slicing(("a", "b"), torch.tensor([0, 0, 0])))
    assert first[:2] == ("a", 3) and first[2].tolist() == [0.5, 0.5]
    assert second == ("b", 0, None)
