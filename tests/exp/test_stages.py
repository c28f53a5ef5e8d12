import pytest

from src.core.errors import UserError
from src.exp.stages import check_negatives, eval_rows
from tests.exp.roads import run_in
from tests.worlds import dataset_of, tiny_dataset

LOGS = [[1, 2, 3, 4], list(range(1, 101))]
DATASET = dataset_of(LOGS, [f"film {item}" for item in range(100)])


@pytest.mark.parametrize(
    ("overrides", "with_seen", "rows"),
    [
        (["metrics.memory_mb=1000", "metrics.max_rows=7"], False, 7),
        (["metrics.memory_mb=1"], False, 2**20 // (8 * 100 + 1024)),
        (["metrics.memory_mb=1"], True, 2**20 // (8 * 100 + 48 * 100 + 1024)),
    ],
)
def test_users_ranked_at_once_are_bounded_by_memory_and_by_number(tmp_path, overrides, with_seen, rows):
    assert eval_rows(run_in(tmp_path, "metrics.max_rows=10000", *overrides), DATASET, with_seen) == rows


def test_a_memory_that_holds_no_user_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"metrics.memory_mb=0.001 is too little to rank one user among 100 items"):
        eval_rows(run_in(tmp_path, "metrics.memory_mb=0.001"), DATASET, with_seen=False)


@pytest.mark.parametrize("overrides", ["distill.lam=0", "distill.candidate_topk=5", "student.model.history_length=3"])
def test_a_catalogue_without_room_for_negatives_is_refused_before_training(tmp_path, overrides):
    dataset = tiny_dataset()  # 15 items; the longest training history has 8
    wide = ["distill=dllm2rec", "student.model.history_length=8", "distill.candidate_topk=6", "teacher.export.k=6"]
    with pytest.raises(UserError, match=r"has 15 items, of which a history \(8\), its target and .* items \(6\)"):
        check_negatives(run_in(tmp_path, *wide), dataset)
    check_negatives(run_in(tmp_path, *wide, overrides), dataset)
