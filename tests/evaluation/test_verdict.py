from dataclasses import replace

import pytest

from src.evaluation.comparison import Comparison, Difference, Mean
from src.evaluation.verdict import verdict

MEANS = [
    Mean("Baseline", "NDCG@10", 0.05, 0.04, 0.06, 0.001, "3 student seeds"),
    Mean("Distilled", "NDCG@10", 0.06, 0.05, 0.07, 0.002, "3 student seeds, one teacher"),
]
GAIN = Difference("Distilled", "Baseline", "NDCG@10", 0.01, 0.004, 0.016, 0.2, 0.001, 0.002, 0.008)


def of(difference: Difference, means: list[Mean] = MEANS) -> str:
    return verdict(Comparison(943, 943, 0.95, 10_000, means, [difference]), "Distilled")


def test_a_gain_is_told_with_interval_chance_seeds_and_users():
    assert of(GAIN) == (
        "Distilled is 20.0 % better than Baseline (NDCG@10 0.0500 → 0.0600, difference +0.0100, "
        "95 % interval +0.0040 to +0.0160; p = 0.0080 with Holm's correction over 1 difference; "
        "3 student seeds, one teacher, 943 users)."
    )


def test_a_loss_is_told_as_one():
    loss = replace(GAIN, difference=-0.01, low=-0.016, high=-0.004, relative=-0.2, p_holm=0.00001)
    assert of(loss).startswith("Distilled is 20.0 % worse than Baseline (")
    assert "interval −0.0160 to −0.0040; p < 0.0001 with" in of(loss)


@pytest.mark.parametrize("p_holm", [0.05, 1.0])
def test_where_the_test_shows_nothing_the_sentence_claims_nothing(p_holm):
    told = of(replace(GAIN, p_holm=p_holm))
    assert told.startswith("No difference between Distilled and Baseline could be shown (NDCG@10 0.0500 → 0.0600, ")
    assert "better" not in told


def test_a_baseline_of_zero_has_no_share():
    assert of(replace(GAIN, relative=None)).startswith("Distilled is better than Baseline (")


def test_one_training_each_is_said_to_be_one():
    alone = [replace(mean, trainings=None, sd=None) for mean in MEANS]
    assert of(GAIN, alone).endswith("; one training each, 943 users).")
