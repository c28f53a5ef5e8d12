import math

import pytest
import torch

from src.core.errors import UserError
from src.exp.comparison import Row, _markdown, _popularity, _print_table, compare_all
from src.student.evaluator import Evaluation
from tests.exp.roads import run_in
from tests.worlds import tiny_dataset

DATASET = tiny_dataset()

ROWS = [
    Row("Baseline (sasrec)", Evaluation(torch.arange(4), torch.tensor([1, 2, 3, 9]), seconds=0.002), 12345),
    Row("Teacher (ilora, some)", Evaluation(torch.arange(4), torch.tensor([1, 1, 1, 1]), seconds=8.0), 7),
]


def test_the_table_holds_the_figures_worked_by_hand():
    third = f"{(1 + 1 / math.log2(3)) / 4:.4f}"  # ranks 1 and 2 of four users
    assert _markdown(ROWS, [1, 2]).splitlines() == [
        "| Model | HR@1 | HR@2 | NDCG@1 | NDCG@2 | Recall@1 | Recall@2 | Parameters | ms / 1,000 users |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
        f"| Baseline (sasrec) | 0.2500 | 0.5000 | 0.2500 | {third} | 0.2500 | 0.5000 | 12,345 | 500.0 |",
        "| Teacher (ilora, some) | 1.0000 | 1.0000 | 1.0000 | 1.0000 | 1.0000 | 1.0000 | 7 | 2,000,000.0 |",
    ]


def test_the_printed_table_holds_every_model_and_figure(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    _print_table(ROWS, [1, 2], "tiny: 4 users")
    printed = capsys.readouterr().out
    for word in ("tiny: 4 users", "Baseline", "Teacher", "HR@1", "NDCG@2", "Recall@2", "12,345", "2,000,000.0"):
        assert word in printed


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


def test_a_cut_off_beyond_the_catalogue_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"metrics.ks=\[1, 16\] asks for more items than the catalogue's 15"):
        compare_all(run_in(tmp_path, "metrics.ks=[1,16]"), DATASET)


def test_models_that_are_not_there_are_named_with_their_command(tmp_path):
    with pytest.raises(UserError, match=r"no trained student at .*run_student_baseline"):
        compare_all(run_in(tmp_path), DATASET)
    assert not (tmp_path / "metrics" / "table.md").exists()
