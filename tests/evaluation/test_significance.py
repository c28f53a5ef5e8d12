import numpy as np
import pytest
import torch
from scipy import stats

from src.core.errors import UserError
from src.evaluation.settings import CompareSettings
from src.evaluation.significance import Model, compare, compare_models
from src.evaluation.statistics import bca_interval, bootstrap_means, by_user

DRAW = torch.Generator().manual_seed(0)
BEFORE = torch.randint(1, 20, (200,), generator=DRAW)
AFTER = (BEFORE - torch.randint(0, 3, (200,), generator=DRAW)).clamp(min=1)
USER = torch.arange(200)
SETTINGS = {"metrics": ["NDCG@10", "HR@5"], "confidence": 0.9, "resamples": 4000, "seed": 0}


def ndcg10(rank: torch.Tensor) -> np.ndarray:
    return np.where(rank.numpy() <= 10, 1 / np.log2(1 + rank.numpy()), 0.0)


def test_means_and_differences_agree_with_scipy():
    models = [Model("before", [BEFORE]), Model("after", [AFTER])]
    comparison = compare_models(models, USER, baseline=0, **SETTINGS)
    first, difference = comparison.means[0], comparison.differences[0]
    before, after = ndcg10(BEFORE), ndcg10(AFTER)
    assert (first.model, first.metric, first.sd, first.trainings) == ("before", "NDCG@10", None, None)
    assert first.mean == pytest.approx(before.mean())
    assert difference.difference == pytest.approx(after.mean() - before.mean())
    assert difference.relative == pytest.approx(after.mean() / before.mean() - 1)
    assert difference.p_t == pytest.approx(stats.ttest_rel(after, before).pvalue)
    for ours, values in ((first, before), (difference, after - before)):
        theirs = stats.bootstrap((values,), np.mean, confidence_level=0.9, rng=1).confidence_interval
        assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=2e-3)


def test_holm_counts_every_difference_told():
    other = BEFORE.flip(0)
    models = [Model("before", [BEFORE]), Model("after", [AFTER]), Model("other", [other])]
    differences = compare_models(models, USER, baseline=0, **SETTINGS).differences
    assert [(d.model, d.metric) for d in differences] == [
        ("after", "NDCG@10"), ("other", "NDCG@10"), ("after", "HR@5"), ("other", "HR@5"),
    ]  # fmt: skip
    smallest = min(differences, key=lambda d: d.p_randomisation)
    assert smallest.p_holm == pytest.approx(4 * smallest.p_randomisation)
    assert all(d.baseline == "before" and d.p_holm >= d.p_randomisation for d in differences)


def test_any_model_can_be_the_baseline():
    models = [Model("after", [AFTER]), Model("before", [BEFORE])]
    (gain,) = compare_models(models[::-1], USER, baseline=0, **{**SETTINGS, "metrics": ["HR@5"]}).differences
    (loss,) = compare_models(models, USER, baseline=1, **{**SETTINGS, "metrics": ["HR@5"]}).differences
    assert (loss.model, loss.difference) == ("after", gain.difference)


def test_each_users_metric_is_averaged_over_seeds_first():
    ranks = [torch.tensor([1, 9, 9, 9]), torch.tensor([1, 1, 9, 1])]
    models = [Model("one", [torch.tensor([9, 9, 1, 9])]), Model("two", ranks, "2 student seeds")]
    comparison = compare_models(models, USER[:4], baseline=0, **{**SETTINGS, "metrics": ["HR@1"]})
    two, (difference,) = comparison.means[1], comparison.differences
    assert (two.mean, two.sd) == (0.5, pytest.approx(np.std([0.25, 0.75], ddof=1)))
    assert two.trainings == "2 student seeds"
    assert difference.p_t == pytest.approx(stats.ttest_1samp([1.0, 0.5, -1.0, 0.5], 0).pvalue)
    averages = by_user(np.array([1.0, 0.5, 0.0, 0.5]), np.arange(4))
    assert (two.low, two.high) == bca_interval(averages, bootstrap_means(averages, 4000, seed=0), 0.9)


def test_a_baseline_of_zero_has_no_relative_improvement():
    models = [Model("one", [torch.tensor([9, 9])]), Model("two", [torch.tensor([1, 9])])]
    comparison = compare_models(models, USER[:2], baseline=0, **{**SETTINGS, "metrics": ["HR@5"]})
    assert comparison.differences[0].relative is None


def test_a_comparison_is_the_one_that_the_settings_describe():
    models = [Model("before", [BEFORE]), Model("after", [AFTER])]
    settings = CompareSettings(metrics=["NDCG@10"], confidence=0.9, resamples=2000, seed=3, baseline=0)
    how = {"metrics": ["NDCG@10"], "confidence": 0.9, "resamples": 2000, "seed": 3}
    assert compare(models, USER, 1, settings) == compare_models(models, USER, baseline=1, **how)
    assert compare(models, USER, 1, settings) != compare_models(models, USER, baseline=1, **{**how, "seed": 4})


def test_what_cannot_be_compared_is_refused():
    models = [Model("one", [torch.tensor([1, 3])]), Model("two", [torch.tensor([2, 4])])]
    user = torch.tensor([6, 6])
    with pytest.raises(
        UserError, match=r"compare.baseline=2 is no place in compare.runs: the last of its 2 models is 1"
    ):
        compare(models, user, 2, CompareSettings())
    with pytest.raises(UserError, match="The models ranked one user"):
        compare(models, user, 0, CompareSettings())


def test_what_a_user_does_again_makes_nothing_surer():
    """Every interaction of every user four times: the figures of once, where independent ones would look surer."""
    models = [Model("before", [BEFORE]), Model("after", [AFTER])]
    again = [Model(model.name, [model.ranks[0].repeat(4)]) for model in models]
    once = compare_models(models, USER, baseline=0, **SETTINGS)
    fourfold = compare_models(again, USER.repeat(4), baseline=0, **SETTINGS)
    assert (fourfold.num_users, fourfold.num_interactions) == (200, 800)
    for one, four in zip((*once.means, *once.differences), (*fourfold.means, *fourfold.differences), strict=True):
        assert (four.low, four.high) == pytest.approx((one.low, one.high), rel=1e-9)
    for one, four in zip(once.differences, fourfold.differences, strict=True):
        assert (four.p_t, four.p_randomisation) == pytest.approx((one.p_t, one.p_randomisation), rel=1e-9)
    apart = compare_models(again, torch.arange(800), baseline=0, **SETTINGS).differences[0]
    assert apart.high - apart.low < 0.6 * (once.differences[0].high - once.differences[0].low)


@pytest.mark.parametrize("num_users", [21, 200])
def test_the_same_trainings_told_in_another_order_are_the_same_model(num_users):
    """Three numbers added up in another order differ by rounding: so do users' means, here in one direction."""
    user = torch.arange(200) % num_users
    ranks = [torch.randint(1, 15, (200,), generator=torch.Generator().manual_seed(seed)) for seed in range(3)]
    models = [Model("one", ranks), Model("again", [ranks[2], ranks[0], ranks[1]])]
    settings = {**SETTINGS, "metrics": ["NDCG@10", "MRR@10", "HR@5"]}
    for same in compare_models(models, user, baseline=0, **settings).differences:
        assert (same.difference, same.low, same.high, same.relative) == (0.0, 0.0, 0.0, 0.0)
        assert (same.p_t, same.p_randomisation, same.p_holm) == (1.0, 1.0, 1.0)


def test_ranks_that_users_exchange_among_their_own_interactions_are_no_difference():
    """Gains that add up to nothing within each user, but for rounding."""
    models = [Model("before", [BEFORE]), Model("after", [BEFORE.view(20, 10).roll(3, 1).flatten()])]
    settings = {**SETTINGS, "metrics": ["NDCG@10", "MRR@10"]}
    for same in compare_models(models, USER // 10, baseline=0, **settings).differences:
        assert (same.difference, same.low, same.high) == (0.0, 0.0, 0.0)
        assert (same.p_t, same.p_randomisation) == (1.0, 1.0)


def test_steps_are_differences_between_neighbours_corrected_among_themselves():
    models = [Model("a", [BEFORE]), Model("b", [BEFORE.flip(0)]), Model("c", [AFTER])]
    found = compare_models(models, USER, baseline=0, steps=[(0, 1), (1, 2)], **{**SETTINGS, "metrics": ["NDCG@10"]})
    first, second = found.steps
    assert [(d.baseline, d.model) for d in found.steps] == [("a", "b"), ("b", "c")]
    whole = found.differences[1].difference
    assert first.difference + second.difference == pytest.approx(whole)
    assert second.difference == pytest.approx(ndcg10(AFTER).mean() - ndcg10(BEFORE.flip(0)).mean())
    smallest = min(found.steps, key=lambda d: d.p_randomisation)
    assert smallest.p_holm == pytest.approx(min(1, 2 * smallest.p_randomisation))


def test_controls_are_told_in_steps_and_make_no_correction_stricter():
    models = [Model("a", [BEFORE]), Model("control", [BEFORE.flip(0)]), Model("c", [AFTER])]
    settings = {**SETTINGS, "metrics": ["NDCG@10"]}
    found = compare_models(models, USER, baseline=0, steps=[(0, 1), (1, 2)], controls=[1], **settings)
    (claim,) = found.differences
    assert (claim.model, claim.p_holm) == ("c", claim.p_randomisation)
    assert [mean.model for mean in found.means] == ["a", "control", "c"]
    assert [step.model for step in found.steps] == ["control", "c"]


def test_without_steps_there_are_none():
    assert compare_models([Model("a", [BEFORE]), Model("b", [AFTER])], USER, baseline=0, **SETTINGS).steps == []
