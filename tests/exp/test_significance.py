import json

import numpy as np
import pytest
import torch
from scipy import stats

from src.core.errors import UserError
from src.core.statistics import bca_interval, bootstrap_means
from src.exp.significance import Model, check_compared, compare, compare_models, tables
from tests.exp.roads import run_in

DRAW = torch.Generator().manual_seed(0)
BEFORE = torch.randint(1, 20, (200,), generator=DRAW)
AFTER = (BEFORE - torch.randint(0, 3, (200,), generator=DRAW)).clamp(min=1)
SETTINGS = {"metrics": ["NDCG@10", "HR@5"], "confidence": 0.9, "resamples": 4000, "seed": 0}


def ndcg10(rank: torch.Tensor) -> np.ndarray:
    return np.where(rank.numpy() <= 10, 1 / np.log2(1 + rank.numpy()), 0.0)


def test_means_and_differences_agree_with_scipy():
    models = [Model("before", [BEFORE]), Model("after", [AFTER])]
    comparison = compare_models(models, baseline=0, **SETTINGS)
    first, difference = comparison.means[0], comparison.differences[0]
    before, after = ndcg10(BEFORE), ndcg10(AFTER)
    assert (first.model, first.metric, first.sd_over_seeds) == ("before", "NDCG@10", None)
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
    differences = compare_models(models, baseline=0, **SETTINGS).differences
    assert [(d.model, d.metric) for d in differences] == [
        ("after", "NDCG@10"), ("other", "NDCG@10"), ("after", "HR@5"), ("other", "HR@5"),
    ]  # fmt: skip
    smallest = min(differences, key=lambda d: d.p_randomisation)
    assert smallest.p_holm == pytest.approx(4 * smallest.p_randomisation)
    assert all(d.baseline == "before" and d.p_holm >= d.p_randomisation for d in differences)


def test_any_model_can_be_the_baseline():
    models = [Model("after", [AFTER]), Model("before", [BEFORE])]
    (gain,) = compare_models(models[::-1], baseline=0, **{**SETTINGS, "metrics": ["HR@5"]}).differences
    (loss,) = compare_models(models, baseline=1, **{**SETTINGS, "metrics": ["HR@5"]}).differences
    assert (loss.model, loss.difference) == ("after", gain.difference)


def test_each_users_metric_is_averaged_over_seeds_first():
    ranks = [torch.tensor([1, 9, 9, 9]), torch.tensor([1, 1, 9, 1])]
    models = [Model("one", [torch.tensor([9, 9, 1, 9])]), Model("two", ranks)]
    comparison = compare_models(models, baseline=0, **{**SETTINGS, "metrics": ["HR@1"]})
    two, (difference,) = comparison.means[1], comparison.differences
    assert (two.mean, two.sd_over_seeds) == (0.5, pytest.approx(np.std([0.25, 0.75], ddof=1)))
    assert difference.p_t == pytest.approx(stats.ttest_1samp([1.0, 0.5, -1.0, 0.5], 0).pvalue)
    averages = np.array([1.0, 0.5, 0.0, 0.5])
    assert (two.low, two.high) == bca_interval(averages, bootstrap_means(averages, 4000, seed=0), 0.9)


def test_a_baseline_of_zero_has_no_relative_improvement():
    models = [Model("one", [torch.tensor([9, 9])]), Model("two", [torch.tensor([1, 9])])]
    comparison = compare_models(models, baseline=0, **{**SETTINGS, "metrics": ["HR@5"]})
    assert comparison.differences[0].relative is None
    _, differences = tables(comparison)
    assert differences.rows[0][3] == ""


def test_the_tables_by_hand():
    ranks = torch.tensor([1] * 8 + [9] * 2)
    models = [Model("one", [ranks]), Model("two", [11 - ranks, 11 - ranks])]
    means, differences = tables(compare_models(models, baseline=0, **{**SETTINGS, "metrics": ["HR@5", "HR@1"]}))
    assert means.title == "Means over 10 users, 90% confidence intervals"
    assert means.header == ["Model", "HR@5", "HR@1"]
    assert [row[0] for row in means.rows] == ["one", "two"]
    assert means.rows[0][1].startswith("0.8000 [0.5") and means.rows[1][1].startswith("0.2000 ± 0.0000 [0.")
    assert differences.title == "Differences to one, 10 users, 90% confidence intervals"
    assert [row[:2] + row[3:4] for row in differences.rows] == [
        ["two", "HR@5", "−75.0%"], ["two", "HR@1", "−100.0%"],
    ]  # fmt: skip
    assert differences.rows[0][2].startswith("−0.6000 [−1.0000, ")
    many = Model("many", [ranks.repeat(10)]), Model("two", [ranks.repeat(10) + 1])
    _, clear = tables(compare_models(many, baseline=0, **{**SETTINGS, "metrics": ["HR@1"]}))
    assert clear.rows[0][4:] == ["< 0.0001", "0.0002", "0.0002"]  # the least that 4,000 sets of signs can show


def test_a_comparison_is_written_and_printed(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    run = run_in(tmp_path, "compare.metrics=[NDCG@10]", "compare.resamples=2000")
    models = [Model("before", [BEFORE]), Model("after_it", [AFTER])]
    compare(run, models, 0, tmp_path / "new")
    text = (tmp_path / "new" / "comparison.md").read_text()
    assert "## Means over 200 users, 95% confidence intervals\n\n| Model | NDCG@10 |" in text
    assert "## Differences to before" in text and "2,000 resamples" in text
    latex = (tmp_path / "new" / "comparison.tex").read_text()
    assert latex.count(r"\begin{tabular}") == latex.count(r"\end{tabular}") == 2 and r"after\_it" in latex
    kept = json.loads((tmp_path / "new" / "comparison.json").read_text())
    expected = compare_models(
        models, baseline=0, **{**SETTINGS, "metrics": ["NDCG@10"], "confidence": 0.95, "resamples": 2000}
    )
    assert kept["differences"][0]["difference"] == expected.differences[0].difference
    assert kept["means"][1]["high"] == expected.means[1].high
    printed = capsys.readouterr().out
    assert "after_it" in printed and "p (Holm)" in printed


def test_what_cannot_be_compared_is_refused(tmp_path):
    run = run_in(tmp_path)
    models = [Model("one", [torch.tensor([1])]), Model("two", [torch.tensor([2])])]
    with pytest.raises(
        UserError, match=r"compare.baseline=2 is no place in compare.runs: the last of its 2 models is 1"
    ):
        compare(run, models, 2, tmp_path)
    with pytest.raises(UserError, match="The models ranked one user"):
        compare(run, models, 0, tmp_path)
    with pytest.raises(UserError, match=r"compare.metrics=\['NDCG@10', 'HR@10'\] asks for more items"):
        check_compared(run, 9)
