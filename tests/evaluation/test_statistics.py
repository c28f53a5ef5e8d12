import itertools
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import stats
from statsmodels.regression.linear_model import OLS

from src.evaluation import statistics
from src.evaluation.statistics import (
    UserSums,
    bca_interval,
    bootstrap_means,
    by_user,
    holm,
    paired_t_test,
    randomisation_test,
)

FEW = np.array([0.0, 0.0, 0.0, 1.0, 0.5, 0.0, 1.0, 0.0])
SKEWED = np.random.default_rng(0).exponential(size=40)
OWNER = np.random.default_rng(1).integers(0, 15, 40) * 7  # 15 users, named with gaps, their interactions mixed
TASTE = OWNER / 20


def alone(values: np.ndarray) -> UserSums:
    """Every interaction is of a user of its own."""
    return by_user(values, np.arange(len(values)))


def clustered(num_users: int, draw: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Values around 0 and their users, who have one to nine interactions each, and a taste of their own."""
    user = np.repeat(np.arange(num_users), draw.integers(1, 10, num_users))
    return draw.normal(size=num_users)[user] + draw.normal(size=len(user)), user


def test_values_are_added_up_by_user():
    users = by_user(np.array([1.0, 0.5, 0.25, 2.0]), np.array([9, 4, 9, 7]))
    assert (users.sums.tolist(), users.counts.tolist()) == ([0.5, 2.0, 1.25], [1, 1, 2])
    assert users.mean == 3.75 / 4  # over interactions, not over users


# --- intervals


@pytest.mark.parametrize("values", [FEW, SKEWED])
def test_bootstrap_means_are_distributed_as_those_of_users_drawn_one_by_one(values):
    drawn = np.random.default_rng(1).choice(values, (20_000, len(values))).mean(1)
    counted = bootstrap_means(alone(values), 20_000, seed=2)
    assert stats.ks_2samp(drawn.round(9), counted.round(9)).pvalue > 0.01
    assert counted.mean() == pytest.approx(values.mean(), abs=0.005)
    assert counted.std() == pytest.approx(values.std() / len(values) ** 0.5, rel=0.03)


@pytest.mark.parametrize("values", [SKEWED + TASTE, (SKEWED + TASTE > 2).astype(float)])
def test_bootstrap_means_are_distributed_as_those_of_users_drawn_with_all_their_interactions(values):
    draw, names = np.random.default_rng(3), np.unique(OWNER)
    drawn = [
        np.concatenate([values[name == OWNER] for name in draw.choice(names, len(names))]).mean() for _ in range(4000)
    ]
    counted = bootstrap_means(by_user(values, OWNER), 20_000, seed=2)
    assert stats.ks_2samp(np.round(drawn, 9), counted.round(9)).pvalue > 0.01
    independent = bootstrap_means(alone(values), 20_000, seed=2)
    assert stats.ks_2samp(np.round(drawn, 9), independent.round(9)).pvalue < 1e-4


def test_a_seed_repeats_and_another_differs(monkeypatch):
    users = alone(SKEWED)
    first = bootstrap_means(users, 1000, seed=3)
    p = randomisation_test(alone(SKEWED - 0.8), 1000, seed=3)
    monkeypatch.setattr(statistics, "COUNTS_AT_ONCE", 500)  # parts change nothing
    assert np.array_equal(bootstrap_means(users, 1000, seed=3), first)
    assert randomisation_test(alone(SKEWED - 0.8), 1000, seed=3) == p
    assert not np.array_equal(bootstrap_means(users, 1000, seed=4), first)


@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.95, 0.99])
@pytest.mark.parametrize("values", [FEW, SKEWED, -SKEWED])
@pytest.mark.parametrize("grouped", [False, True])
def test_bca_intervals_agree_with_scipy(values, confidence, grouped):
    users = by_user(values, OWNER[: len(values)]) if grouped else alone(values)
    means = bootstrap_means(users, 2000, seed=0)
    theirs = stats.bootstrap(
        (users.sums, users.counts),
        lambda sums, counts, axis: sums.sum(axis) / counts.sum(axis),
        paired=True,
        n_resamples=0,
        bootstrap_result=SimpleNamespace(bootstrap_distribution=means),
        confidence_level=confidence,
        method="BCa",
    ).confidence_interval
    assert bca_interval(users, means, confidence) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


@pytest.mark.parametrize("value", [0.25, 1 / np.log2(3)])  # the mean of six of the second is not quite the second
@pytest.mark.parametrize("owner", [np.arange(6), np.array([0, 0, 0, 1, 1, 2])])
def test_an_interval_of_equal_values_is_a_point(value, owner):
    users = by_user(np.full(6, value), owner)
    assert bca_interval(users, bootstrap_means(users, 1000, seed=0), 0.95) == pytest.approx((value, value), abs=1e-12)


# --- tests


def test_the_t_test_agrees_with_scipy():
    before, after = SKEWED, SKEWED[::-1] + 0.1
    assert paired_t_test(alone(after - before)) == pytest.approx(stats.ttest_rel(after, before).pvalue, rel=1e-12)
    assert paired_t_test(alone(np.zeros(4))) == 1.0
    assert paired_t_test(alone(np.full(4, 0.1))) == 0.0


@pytest.mark.parametrize("mean", [0.0, 0.3, -1.0])
def test_the_clustered_t_test_agrees_with_statsmodels(mean):
    values, user = clustered(12, np.random.default_rng(4))
    fitted = OLS(values + mean, np.ones(len(values))).fit(cov_type="cluster", cov_kwds={"groups": user}, use_t=True)
    assert paired_t_test(by_user(values + mean, user)) == pytest.approx(fitted.pvalues[0], rel=1e-9)


def test_the_same_interactions_said_thrice_are_no_news():
    once, thrice = alone(SKEWED - 0.8), by_user(np.tile(SKEWED - 0.8, 3), np.tile(np.arange(40), 3))
    assert paired_t_test(thrice) == pytest.approx(paired_t_test(once), rel=1e-9)
    assert randomisation_test(thrice, 2000, seed=0) == randomisation_test(once, 2000, seed=0)
    assert bootstrap_means(thrice, 2000, seed=0) == pytest.approx(bootstrap_means(once, 2000, seed=0), rel=1e-9)


def every_sign(differences: np.ndarray) -> float:
    """The exact p: the share of all sign patterns whose mean is as far from 0."""
    signs = np.array(list(itertools.product([-1, 1], repeat=len(differences))))
    return (np.abs(signs @ differences) >= abs(differences.sum()) - 1e-12).mean()


@pytest.mark.parametrize(
    "differences", [FEW - 0.25, np.array([0.3, 0.1, -0.2, 0.1, 0.3, 0.0, 0.4]), np.array([1.0, 1.0, 1.0, -1.0])]
)
def test_the_randomisation_test_agrees_with_all_signs(differences):
    assert randomisation_test(alone(differences), 40_000, seed=0) == pytest.approx(every_sign(differences), abs=0.01)


def test_a_user_has_one_sign_for_all_interactions():
    differences, user = np.array([0.3, 0.2, 0.1, 0.4, 0.5, -0.2]), np.array([0, 0, 1, 1, 2, 3])
    signs = np.array(list(itertools.product([-1, 1], repeat=4)))[:, user]
    exact = (np.abs((signs * differences).sum(1)) >= differences.sum() - 1e-12).mean()
    assert randomisation_test(by_user(differences, user), 40_000, seed=0) == pytest.approx(exact, abs=0.01)
    assert exact > every_sign(differences) + 0.05


def test_the_randomisation_test_at_its_ends():
    assert randomisation_test(alone(np.zeros(5)), 1000, seed=0) == 1.0
    assert randomisation_test(alone(np.array([0.5, -0.5])), 1000, seed=0) == 1.0
    assert randomisation_test(alone(np.full(200, 0.1)), 1000, seed=0) == 1 / 1001


def test_sums_that_differ_by_rounding_alone_are_equally_far():
    # all signs alike, in either direction: 2 of 8; added up in another order they are 0.8999999999999999
    assert randomisation_test(alone(np.array([0.2, 0.4, 0.3])), 40_000, seed=0) == pytest.approx(0.25, abs=0.01)


def test_a_difference_that_is_nothing_but_rounding_is_exceeded_by_any_signs():
    gains = np.array([0.1, 0.2, -0.3, 0.7, -0.4, -0.3])  # added up: 5.6e-17
    assert 0 < abs(gains.sum()) < 1e-16
    assert randomisation_test(alone(gains), 4000, seed=0) == 1.0


# --- what it is for


def test_intervals_and_tests_are_right_19_times_in_20_where_users_have_several_interactions():
    """A hundred worlds in which every second recommendation hits, some users' more, others' less; interactions taken
    for independent miss that truth again and again.
    """
    draw, worlds = np.random.default_rng(5), 100
    right = {"clustered": np.zeros(3), "independent": np.zeros(3)}
    for seed in range(worlds):
        user = np.repeat(np.arange(100), draw.integers(1, 10, 100))
        less_truth = (draw.random(len(user)) < draw.beta(0.4, 0.4, 100)[user]) - 0.5
        for name, users in (("clustered", by_user(less_truth, user)), ("independent", alone(less_truth))):
            low, high = bca_interval(users, bootstrap_means(users, 1000, seed), 0.95)
            p = paired_t_test(users), randomisation_test(users, 1000, seed)
            right[name] += [low <= 0 <= high, p[0] > 0.05, p[1] > 0.05]
    assert (abs(right["clustered"] / worlds - 0.95) < 0.05).all()
    assert (right["independent"] / worlds < 0.8).all()


def test_holm_by_hand():
    # sorted: 0.01 x 4, 0.02 x 3, 0.03 x 2 (not below the one before), 0.5 x 1
    assert holm(np.array([0.03, 0.5, 0.01, 0.02])) == pytest.approx([0.06, 0.5, 0.04, 0.06])
    assert holm(np.array([0.4, 0.3])) == pytest.approx([0.6, 0.6])
    assert holm(np.array([0.9, 0.8])) == pytest.approx([1.0, 1.0])
