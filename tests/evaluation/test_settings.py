from pathlib import Path

import pytest
import torch

from src.core.errors import UserError
from src.core.metrics import METRICS
from src.core.settings_reading import read_settings
from src.evaluation.settings import (
    METRIC_NAMES,
    CompareSettings,
    MetricsSettings,
    check_compared,
    check_cut_offs,
    check_metrics,
    cut_off_of,
)


def test_a_metric_is_called_by_its_name():
    kind, k = cut_off_of("MRR@3")
    assert (kind, k) == ("MRR", 3)
    assert METRICS[kind](torch.tensor([2, 4]), k).tolist() == [0.5, 0.0]
    assert cut_off_of("NDCG@10") == ("NDCG", 10)
    for wrong in ("MRR", "MRR@0", "MAP@3", "MRR@3.5"):
        with pytest.raises(UserError, match=f"The metric {wrong} is not known: use one of HR@K, NDCG@K"):
            cut_off_of(wrong)


def test_every_metric_has_its_name():
    assert tuple(METRICS) == METRIC_NAMES


def test_a_cut_off_beyond_the_catalogue_is_refused():
    check_cut_offs("metrics.ks", [1, 5], 5)
    with pytest.raises(UserError, match=r"metrics.ks asks for more items than the catalogue's 5: use smaller K"):
        check_cut_offs("metrics.ks", [1, 6], 5)


@pytest.mark.parametrize(
    ("metrics", "compare", "words"),
    [
        ({"ks": [1, 16]}, {}, r"metrics.ks=\[1, 16\] asks for more items than the catalogue's 15"),
        ({"slice_k": 16}, {}, "metrics.slice_k=16 asks for more items"),
        ({}, {"metrics": ["HR@1", "HR@16"]}, r"compare.metrics=\['HR@1', 'HR@16'\] asks for more items"),
        ({}, {"metrics": ["HR@1", "MAP@1"]}, "The metric MAP@1 is not known"),
    ],
)
def test_what_means_nothing_in_a_catalogue_is_refused_before_training(metrics, compare, words):
    small = {"ks": [1, 15], "slice_k": 15}
    check_metrics(MetricsSettings(**small), CompareSettings(), 15)
    with pytest.raises(UserError, match=words):
        check_metrics(MetricsSettings(**{**small, **metrics}), CompareSettings(**compare), 15)


def test_what_is_compared_is_checked_by_itself_too():
    check_compared(CompareSettings(), 10)
    with pytest.raises(UserError, match=r"compare.metrics=\['NDCG@10', 'HR@10'\] asks for more items"):
        check_compared(CompareSettings(), 9)


def test_paths_are_seen_from_where_the_program_was_started(tmp_path, monkeypatch):
    monkeypatch.setattr("src.core.paths._START_DIR", tmp_path)
    monkeypatch.chdir("/")
    settings = read_settings(CompareSettings, {"runs": ["a", ["b", "/c"]], "out": "tables"})
    assert settings.runs == [tmp_path / "a", [tmp_path / "b", Path("/c")]]
    assert settings.out == tmp_path / "tables"


@pytest.mark.parametrize(
    ("kind", "tree", "words"),
    [
        (MetricsSettings, {"history_buckets": [5, 5]}, "history_buckets=.* must be a rising list of whole numbers"),
        (MetricsSettings, {"history_buckets": [0, 5]}, "history_buckets=.* must be a rising list of whole numbers"),
        (MetricsSettings, {"ks": []}, "ks=.* must be a list of whole numbers above 0"),
        (MetricsSettings, {"ks": [0]}, "ks=.* must be a list of whole numbers above 0"),
        (MetricsSettings, {"max_rows": 0}, "max_rows=0 must be a whole number above 0"),
        (MetricsSettings, {"memory_mb": 0}, "memory_mb=0 must be a number above 0"),
        (CompareSettings, {"runs": ["a", []]}, "runs=.* must be a list of files, or of lists of files"),
        (CompareSettings, {"confidence": 1.0}, "confidence=1.0 must be a number above 0 and below 1"),
        (CompareSettings, {"resamples": 999}, "resamples=999 must be a whole number, 1000 or above"),
        (CompareSettings, {"baseline": -1}, "baseline=-1 must be a whole number, 0 or above"),
    ],
)
def test_a_wrong_setting_is_named(kind, tree, words):
    with pytest.raises(UserError, match=words):
        read_settings(kind, tree)


def test_memory_changes_no_result():
    fast = MetricsSettings(memory_mb=1, max_rows=1)
    assert fast.key() == MetricsSettings().key()
    assert MetricsSettings(filter_seen=True).key() != fast.key() != MetricsSettings(ks=[1]).key()
