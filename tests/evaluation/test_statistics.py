import itertools
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import stats

from src.evaluation import statistics
from src.evaluation.statistics import bca_interval, bootstrap_means, holm, paired_t_test, randomisation_test

FEW = np.array([0.0, 0.0, 0.0, 1.0, 0.5, 0.0, 1.0, 0.0])
SKEWED = np.random.default_rng(0).exponential(size=40)


def test_bootstrap_means_are_distributed_as_those_of_users_drawn_one_by_one():
    drawn = np.random.default_rng(1).choice(FEW, (20_000, len(FEW))).mean(1)
    counted = bootstrap_means(FEW, 20_000, seed=2)
    assert stats.ks_2samp(drawn.round(9), counted.round(9)).pvalue > 0.01
    assert counted.mean() == pytest.approx(FEW.mean(), abs=0.005)
    assert counted.std() == pytest.approx(FEW.std() / len(FEW) ** 0.5, rel=0.03)


def test_a_seed_repeats_and_another_differs(monkeypatch):
    first = bootstrap_means(SKEWED, 1000, seed=3)
    p = randomisation_test(SKEWED - 0.8, 1000, seed=3)
    monkeypatch.setattr(statistics, "COUNTS_AT_ONCE", 500)  # parts change nothing
    assert np.array_equal(bootstrap_means(SKEWED, 1000, seed=3), first)
    assert randomisation_test(SKEWED - 0.8, 1000, seed=3) == p
    assert not np.array_equal(bootstrap_means(SKEWED, 1000, seed=4), first)


@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.95, 0.99])
@pytest.mark.parametrize("values", [FEW, SKEWED, -SKEWED])
def test_bca_intervals_agree_with_scipy(values, confidence):
    means = bootstrap_means(values, 2000, seed=0)
    theirs = stats.bootstrap(
        (values,),
        np.mean,
        n_resamples=0,
        bootstrap_result=SimpleNamespace(bootstrap_distribution=means),
        confidence_level=confidence,
        method="BCa",
    ).confidence_interval
    assert bca_interval(values, means, confidence) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


def test_an_interval_of_equal_values_is_a_point():
    values = np.full(5, 0.25)
    assert bca_interval(values, bootstrap_means(values, 1000, seed=0), 0.95) == (0.25, 0.25)


def test_the_t_test_agrees_with_scipy():
    before, after = SKEWED, SKEWED[::-1] + 0.1
    assert paired_t_test(after - before) == pytest.approx(stats.ttest_rel(after, before).pvalue)
    assert paired_t_test(np.zeros(4)) == 1.0


def every_sign(differences: np.ndarray) -> float:
    """The exact p: the share of all sign patterns whose mean is as far from 0."""
    signs = np.array(list(itertools.product([-1, 1], repeat=len(differences))))
    return (np.abs(signs @ differences) >= abs(differences.sum()) - 1e-12).mean()


@pytest.mark.parametrize(
    "differences", [FEW - 0.25, np.array([0.3, 0.1, -0.2, 0.1, 0.3, 0.0, 0.4]), np.array([1.0, 1.0, 1.0, -1.0])]
)
def test_the_randomisation_test_agrees_with_all_signs(differences):
    assert randomisation_test(differences, 40_000, seed=0) == pytest.approx(every_sign(differences), abs=0.01)


def test_the_randomisation_test_at_its_ends():
    assert randomisation_test(np.zeros(5), 1000, seed=0) == 1.0
    assert randomisation_test(np.array([0.5, -0.5]), 1000, seed=0) == 1.0
    assert randomisation_test(np.full(200, 0.1), 1000, seed=0) == 1 / 1001


def test_sums_that_differ_by_rounding_alone_are_equally_far():
    # all signs alike, in either direction: 2 of 8; added up in another order they are 0.8999999999999999
    assert randomisation_test(np.array([0.2, 0.4, 0.3]), 40_000, seed=0) == pytest.approx(0.25, abs=0.01)


def test_holm_by_hand():
    # sorted: 0.01 x 4, 0.02 x 3, 0.03 x 2 (not below the one before), 0.5 x 1
    assert holm(np.array([0.03, 0.5, 0.01, 0.02])) == pytest.approx([0.06, 0.5, 0.04, 0.06])
    assert holm(np.array([0.4, 0.3])) == pytest.approx([0.6, 0.6])
    assert holm(np.array([0.9, 0.8])) == pytest.approx([1.0, 1.0])
