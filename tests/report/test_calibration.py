import math

import pytest
import torch
from statsmodels.stats.proportion import proportion_confint

from src.report.calibration import reliability, seen_items, uniform_cross_entropy, wilson_interval
from tests.report.models import model, trained
from tests.worlds import tiny_dataset


def test_bins_hold_equally_many_lists_from_the_least_sure_to_the_surest():
    one = trained([1, 2, 1, 1], [[1]] * 4, sure=[0.9, 0.1, 0.2, 0.8], likelihood=[-1, -2, -3, -6])
    found = reliability(model(one), bins=2)
    assert found.confidence.tolist() == pytest.approx([0.15, 0.85])
    assert found.accuracy.tolist() == [0.5, 1.0]
    assert found.sizes.tolist() == [2, 2]
    assert found.error == pytest.approx((0.35 + 0.15) / 2)
    assert found.cross_entropy == pytest.approx(3)


def test_trainings_are_taken_together():
    sure, unsure = trained([1, 1], [[1]] * 2, sure=[0.9, 0.9]), trained([2, 2], [[1]] * 2, sure=[0.1, 0.1])
    found = reliability(model(sure, unsure), bins=2)
    assert found.accuracy.tolist() == [0, 1]


def test_fewer_lists_than_bins_make_fewer_bins():
    assert reliability(model(trained([1, 2], [[1]] * 2)), bins=5).sizes.tolist() == [1, 1]


@pytest.mark.parametrize(("right", "n"), [(0, 10), (3, 10), (10, 10), (17, 943)])
def test_intervals_are_wilsons(right, n):
    low, high = wilson_interval(torch.tensor([right / n]).double(), torch.tensor([n]))
    wanted = proportion_confint(right, n, method="wilson")
    assert (low.item(), high.item()) == pytest.approx(wanted, abs=1e-6)


def test_who_knows_nothing_has_the_logarithm_of_the_catalogue():
    assert uniform_cross_entropy(1682) == pytest.approx(math.log(1682))


def test_equal_chances_are_those_of_the_items_that_compete():
    dataset = tiny_dataset()
    expected = []
    for user, end in zip(dataset.examples["test"].user.tolist(), dataset.examples["test"].end.tolist(), strict=True):
        *history, target = dataset.item_log[dataset.offsets[user] :][: end + 1].tolist()
        expected.append(math.log(dataset.num_items - len(set(history) - {target})))
    assert uniform_cross_entropy(dataset.num_items, dataset) == pytest.approx(sum(expected) / len(expected))
    assert seen_items(dataset, rows_at_once=5).tolist() == seen_items(dataset).tolist()
