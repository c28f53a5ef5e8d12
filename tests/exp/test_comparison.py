import json
from pathlib import Path

import pytest

from src.core.errors import UserError
from src.exp.comparison import _popularity, _write_metrics, check_metrics, compare_all
from tests.exp.roads import run_in
from tests.worlds import tiny_dataset

DATASET = tiny_dataset()


@pytest.mark.parametrize("filter_seen", [False, True])
def test_popularity_ranks_by_training_counts(tmp_path, filter_seen):
    row = _popularity(run_in(tmp_path, f"metrics.filter_seen={str(filter_seen).lower()}"), DATASET)
    logs = DATASET.item_log.split(DATASET.offsets.diff().tolist())
    counts = [0] * (DATASET.num_items + 1)
    for log in logs:
        for item in log[:-2].tolist():  # without validation and test target
            counts[item] += 1
    for log, rank in zip(logs, row.evaluation.rank.tolist(), strict=True):
        *history, target = log.tolist()
        rivals = [
            item
            for item in range(1, DATASET.num_items + 1)
            if item != target and counts[item] >= counts[target] and not (filter_seen and item in history)
        ]
        assert rank == 1 + len(rivals)
    assert row.parameters == DATASET.num_items


def written(folder: Path, *overrides: str) -> dict:
    run = run_in(folder, *overrides)
    _write_metrics(run, DATASET, _popularity(run, DATASET), folder / "popularity.json")
    return json.loads((folder / "popularity.json").read_text())


def test_the_file_says_what_was_ranked_and_how(tmp_path):
    file = written(tmp_path, "metrics.filter_seen=true")
    assert file["model"] == "Popularity"
    assert (file["dataset_fingerprint"], file["num_items"]) == (DATASET.fingerprint, 15)
    assert (file["split"], file["filter_seen"]) == ("test", True)
    assert file["example_id"] == DATASET.examples["test"].example_id.tolist()


def test_every_figure_of_the_file_can_be_computed_again_from_its_ranks(tmp_path):
    file = written(tmp_path, "metrics.slice_k=3", "metrics.history_buckets=[2,4]")
    hits = [rank <= 3 for rank in file["rank"]]
    lengths = [len(log) - 1 for log in DATASET.item_log.split(DATASET.offsets.diff().tolist())]
    for name, belongs in {"1-2": lambda n: n <= 2, "3-4": lambda n: 3 <= n <= 4, "5+": lambda n: n >= 5}.items():
        here = [hit for hit, length in zip(hits, lengths, strict=True) if belongs(length)]
        figures = file["slices"]["history length"][name]
        assert (figures["n"], figures["HR@3"]) == (len(here), pytest.approx(sum(here) / len(here)))
    assert sum(figures["n"] for figures in file["slices"]["target popularity"].values()) == 12
    assert file["target"] == DATASET.item_log[DATASET.offsets[1:] - 1].tolist()


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("metrics.ks=[1,16]", r"metrics.ks=\[1, 16\] asks for more items than the catalogue's 15"),
        ("metrics.slice_k=16", "metrics.slice_k=16 asks for more items"),
        ("compare.metrics=[HR@1,NDCG@16]", r"compare.metrics=\['HR@1', 'NDCG@16'\] asks for more items"),
        ("compare.metrics=[MAP@1]", "The metric MAP@1 is not known"),
    ],
)
def test_metrics_that_mean_nothing_in_this_catalogue_are_refused(tmp_path, override, words):
    with pytest.raises(UserError, match=words):
        check_metrics(run_in(tmp_path, override), DATASET)
    with pytest.raises(UserError, match=words):
        compare_all(run_in(tmp_path, override), DATASET)


def test_models_that_are_not_there_are_named_with_their_command(tmp_path):
    with pytest.raises(UserError, match=r"no trained student at .*run_student_baseline"):
        compare_all(run_in(tmp_path), DATASET)
    assert not (tmp_path / "metrics" / "table.md").exists()
