import json
import math

import pytest
import torch

from src.core.dataset import Dataset, ExampleBatch
from src.core.errors import UserError
from src.student.evaluator import Evaluation, evaluate
from src.student.popularity import Popularity
from tests.student.students import student
from tests.worlds import dataset_of, tiny_dataset, tiny_logs

CPU = torch.device("cpu")


def run(
    score, dataset: Dataset, split: str, length: int = 6, filter_seen: bool = False, batch_size: int = 5
) -> Evaluation:
    return evaluate(
        score,
        dataset,
        split,
        history_length=length,
        batch_size=batch_size,
        filter_seen=filter_seen,
        device=CPU,
        title="test",
    )


def literal_rank(scores: list[float], target: int, seen: list[int]) -> int:
    """Sorts the competitors with the target behind those it ties with."""
    rivals = [item for item in range(1, len(scores) + 1) if item == target or item not in seen]
    ordered = sorted(rivals, key=lambda item: (-scores[item - 1], item == target))
    return ordered.index(target) + 1


@pytest.mark.parametrize("filter_seen", [False, True])
@pytest.mark.parametrize(("split", "from_end"), [("val", 2), ("test", 1)])
def test_ranks_equal_a_literal_loop(split, from_end, filter_seen):
    dataset, model = tiny_dataset(), student("sasrec")
    found = run(lambda batch: model.predict(batch.history), dataset, split, filter_seen=filter_seen)
    expected = []
    for log in tiny_logs():
        history, target = log[:-from_end], log[-from_end]
        scores = model.predict(torch.tensor([history[-6:]]))[0].tolist()
        expected.append(literal_rank(scores, target, history if filter_seen else []))
    assert found.rank.tolist() == expected
    assert found.example_id.tolist() == dataset.examples[split].example_id.tolist()
    assert len(set(expected)) > 3


def test_seen_items_beyond_what_the_model_is_shown_do_not_compete_either():
    dataset = dataset_of([[3, 4, 1, 2, 5]], ["a", "b", "c", "d", "e"])
    scores = torch.tensor([[0.0, 1.0, 9.0, 8.0, 5.0]])
    assert run(lambda batch: scores, dataset, "test", length=1).rank.tolist() == [3]
    assert run(lambda batch: scores, dataset, "test", length=1, filter_seen=True).rank.tolist() == [1]


def test_a_target_that_was_seen_still_competes_and_ties_count_against_it():
    dataset = dataset_of([[1, 2, 3, 1]], ["a", "b", "c", "d"])
    assert run(lambda batch: torch.zeros(1, 4), dataset, "test").rank.tolist() == [4]
    assert run(lambda batch: torch.zeros(1, 4), dataset, "test", filter_seen=True).rank.tolist() == [2]


def test_the_size_of_batches_changes_nothing():
    dataset = tiny_dataset()
    popularity = Popularity(dataset.train_item_counts())
    ranks = [run(popularity.score, dataset, "test", batch_size=size).rank.tolist() for size in (1, 5, 12, 100)]
    assert ranks[1:] == ranks[:-1]


def test_the_model_is_shown_no_more_than_its_history_length():
    shown = []

    def score(batch: ExampleBatch) -> torch.Tensor:
        shown.append(batch.history)
        return torch.zeros(len(batch.target), 15)

    run(score, tiny_dataset(), "test", length=4)
    expected = [(log[:-1][-4:] + [0] * 4)[:4] for log in tiny_logs()]
    assert torch.cat(shown).tolist() == expected


def test_metrics_and_speed_by_hand():
    evaluation = Evaluation(torch.tensor([7, 8]), torch.tensor([1, 3]), seconds=0.5)
    assert evaluation.metrics([2, 3]) == {
        "HR@2": 0.5, "NDCG@2": 0.5, "Recall@2": 0.5,
        "HR@3": 1, "NDCG@3": pytest.approx((1 + 1 / math.log2(4)) / 2), "Recall@3": 1,
    }  # fmt: skip
    assert evaluation.ms_per_1000_users == 250_000
    told = json.loads(json.dumps(evaluation.to_json([2])))
    assert (told["example_id"], told["rank"], told["ms_per_1000_users"]) == ([7, 8], [1, 3], 250_000)
    assert told["metrics"] == evaluation.metrics([2])


def test_only_scoring_and_ranking_are_timed(monkeypatch):
    ticks = iter([0.0, 1.0, 10.0, 12.0, 20.0, 24.0])
    monkeypatch.setattr("src.student.evaluator.time.perf_counter", lambda: next(ticks))
    assert run(lambda batch: torch.zeros(len(batch.target), 15), tiny_dataset(), "val").seconds == 1 + 2 + 4


def test_an_empty_split_is_refused():
    empty = dataset_of([[1, 2, 3]], num_train=[3])
    with pytest.raises(UserError, match="Dataset tiny has no val examples"):
        run(lambda batch: torch.zeros(1, 15), empty, "val")
