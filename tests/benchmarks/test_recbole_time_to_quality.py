import math

import pytest

from benchmarks.recbole_time_to_quality import check_same_targets, seconds_to


def test_a_goal_is_reached_at_the_first_validation_at_or_above_it():
    curve = [[1.0, 0.1], [2.0, 0.3], [3.0, 0.2], [4.0, 0.5]]
    assert seconds_to(0.3, curve) == 2.0
    assert seconds_to(0.31, curve) == 4.0
    assert seconds_to(0.6, curve) == math.inf


def test_other_validation_targets_are_noticed():
    facts = {"RecBole": {"targets": [[0, 5]], "parameters": 3}, "ours": {"targets": [[0, 5]]}}
    check_same_targets(facts)
    assert facts == {"RecBole": {"parameters": 3}, "ours": {}}
    with pytest.raises(RuntimeError, match="other targets"):
        check_same_targets({"RecBole": {"targets": [[0, 5]]}, "ours": {"targets": [[0, 6]]}})
