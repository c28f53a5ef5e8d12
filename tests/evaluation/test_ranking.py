import json
import math
from collections import Counter
from statistics import mean

import pytest
import torch

from src.core.errors import UserError
from src.core.metrics import users_within
from src.data.dataset import Dataset, ExampleBatch
from src.evaluation.popularity import Popularity
from src.evaluation.ranking import Evaluation, Lists, _rank, evaluate, rows_at_once
from src.evaluation.settings import MetricsSettings
from tests.memory import peak_bytes
from tests.student.students import student
from tests.worlds import dataset_of, tiny_dataset, tiny_logs

CPU = torch.device("cpu")
HUNDRED = dataset_of([[1, 2, 3, 4], list(range(1, 101))], [f"film {item}" for item in range(100)])


def run(
    score, dataset: Dataset, split: str, length: int = 6, filter_seen: bool = False, max_rows: int = 5, ks=(1, 3)
) -> Evaluation:
    return evaluate(
        score,
        dataset,
        split,
        MetricsSettings(ks=list(ks), filter_seen=filter_seen, max_rows=max_rows),
        history_length=length,
        device=CPU,
        title="test",
    )


def literal_ranking(scores: list[float], target: int, seen: list[int]) -> list[int]:
    """Sorts the items that compete, the target behind those it ties with."""
    rivals = [item for item in range(1, len(scores) + 1) if item == target or item not in seen]
    return sorted(rivals, key=lambda item: (-scores[item - 1], item == target))


@pytest.mark.parametrize("filter_seen", [False, True])
@pytest.mark.parametrize(("split", "from_end"), [("val", 2), ("test", 1)])
def test_ranks_equal_a_literal_loop(split, from_end, filter_seen):
    dataset, model = tiny_dataset(), student("sasrec")
    found = run(lambda batch: model.predict(batch.history), dataset, split, filter_seen=filter_seen)
    rankings, targets, surprise = [], [log[-from_end] for log in tiny_logs()], []
    for log, target in zip(tiny_logs(), targets, strict=True):
        history = log[:-from_end]
        scores = model.predict(torch.tensor([history[-6:]]))[0].tolist()
        rankings.append(literal_ranking(scores, target, history if filter_seen else []))
        surprise.append(math.log(sum(math.exp(scores[item - 1] - scores[target - 1]) for item in rankings[-1])))
    expected = [ranking.index(target) + 1 for ranking, target in zip(rankings, targets, strict=True)]
    assert found.rank.tolist() == expected
    assert len(set(expected)) > 3
    assert found.target.tolist() == targets
    assert found.user.tolist() == list(range(12))
    assert found.example_id.tolist() == dataset.examples[split].example_id.tolist()
    literal = literal_metrics(rankings, expected, targets) | {"Cross-entropy": mean(surprise)}
    assert found.metrics == pytest.approx(literal)


def literal_metrics(rankings: list[list[int]], ranks: list[int], targets: list[int]) -> dict[str, float]:
    """Every figure at K of 1 and 3, from whole rankings and targets of the tiny world's users."""
    counts = Counter(item for log in tiny_logs() for item in log[:-2])
    figures = {}
    for k in (1, 3):
        hits = [rank for rank in ranks if rank <= k]
        figures |= {
            f"HR@{k}": len(hits) / 12,
            f"Recall@{k}": len(hits) / 12,
            f"NDCG@{k}": sum(1 / math.log2(1 + rank) for rank in hits) / 12,
            f"MRR@{k}": sum(1 / rank for rank in hits) / 12,
            f"Coverage@{k}": len({item for ranking in rankings for item in ranking[:k]}) / 15,
            f"ARP@{k}": mean(mean(counts[item] for item in ranking[:k]) for ranking in rankings),
        }
    return {**figures, "ARP of targets": mean(counts[target] for target in targets)}


def test_seen_items_beyond_what_the_model_is_shown_do_not_compete_either():
    dataset = dataset_of([[3, 4, 1, 2, 5]], ["a", "b", "c", "d", "e"])
    scores = torch.tensor([[0.0, 1.0, 9.0, 8.0, 5.0]])
    assert run(lambda batch: scores, dataset, "test", length=1).rank.tolist() == [3]
    assert run(lambda batch: scores, dataset, "test", length=1, filter_seen=True).rank.tolist() == [1]


def test_a_target_that_was_seen_still_competes_and_ties_count_against_it():
    dataset = dataset_of([[1, 2, 3, 1]], ["a", "b", "c", "d"])
    assert run(lambda batch: torch.zeros(1, 4), dataset, "test").rank.tolist() == [4]
    assert run(lambda batch: torch.zeros(1, 4), dataset, "test", filter_seen=True).rank.tolist() == [2]


def test_with_everything_seen_the_target_is_first_and_alone():
    dataset = dataset_of([[1, 2, 3, 1, 2], [3, 2, 1, 3, 3]], ["a", "b", "c"])
    found = run(lambda batch: torch.tensor([[3.0, 2.0, 1.0]]).expand(2, -1), dataset, "test", filter_seen=True)
    assert found.rank.tolist() == [1, 1]
    assert found.metrics["NDCG@1"] == 1
    assert found.metrics["Coverage@3"] == pytest.approx(2 / 3)  # the lists hold the targets, 2 and 3, and nothing else
    assert found.metrics["ARP@3"] == pytest.approx(found.metrics["ARP of targets"]) == 2


def test_the_size_of_batches_changes_nothing():
    dataset = tiny_dataset()
    popularity = Popularity(dataset.train_item_counts())
    runs = [run(popularity.score, dataset, "test", max_rows=size) for size in (1, 5, 12, 100)]
    assert len({tuple(found.rank.tolist()) for found in runs}) == 1
    assert all(found.metrics == pytest.approx(runs[0].metrics) for found in runs)


@pytest.mark.parametrize(("num_items", "num_seen"), [(2000, 300), (300, 280), (4000, 30)])
def test_a_chunk_with_its_seen_items_stays_within_the_memory(num_items, num_seen):
    users = users_within(1, num_items, num_seen)
    logs = [torch.randint(1, num_items + 1, (num_seen + 1,)).tolist() for _ in range(users)]
    dataset = dataset_of(logs, [str(item) for item in range(num_items)])
    batch = dataset.batch(dataset.examples["test"], length=10, with_seen=True)
    peak = peak_bytes(lambda: _rank(torch.rand(users, num_items), batch.target, batch.seen, 20))
    assert 0.5 * 2**20 < peak + batch.seen.nbytes <= 2**20


@pytest.mark.parametrize("filter_seen", [False, True])
def test_scores_judged_a_few_at_a_time_are_those_judged_at_once(filter_seen, monkeypatch):
    dataset, model = tiny_dataset(), student("sasrec")
    whole = run(lambda batch: model.predict(batch.history), dataset, "test", filter_seen=filter_seen)
    monkeypatch.setattr("src.core.metrics.ROWS", 2)
    monkeypatch.setattr("src.core.metrics.TILE", 2 * 4)  # two users, four of fifteen items
    asked = []

    class Lazy:
        def __init__(self, batch: ExampleBatch) -> None:
            self.scores = model.predict(batch.history)

        def __getitem__(self, rows: slice) -> torch.Tensor:
            asked.append(rows)
            return self.scores[rows]

    parts = run(Lazy, dataset, "test", filter_seen=filter_seen)
    assert torch.equal(parts.rank, whole.rank) and parts.metrics == pytest.approx(whole.metrics)
    assert torch.equal(parts.lists.top_items, whole.lists.top_items)
    assert asked == [slice(0, 2), slice(2, 4), slice(4, 6)] * 2 + [slice(0, 2)]  # of five, five and two users


@pytest.mark.parametrize(
    ("settings", "with_seen", "rows"),
    [
        (MetricsSettings(memory_mb=1000, max_rows=7), False, 7),
        (MetricsSettings(memory_mb=1, max_rows=10000), False, 2**20 // (12 * 100 + 8192)),
        (MetricsSettings(memory_mb=1, max_rows=10000), True, 2**20 // (12 * 100 + 48 * 100 + 8192)),
    ],
)
def test_users_ranked_at_once_are_bounded_by_memory_and_by_number(settings, with_seen, rows):
    assert rows_at_once(settings, HUNDRED, with_seen) == rows


def test_a_memory_that_holds_no_user_is_refused():
    with pytest.raises(UserError, match=r"metrics.memory_mb=0.001 is too little to rank one user among 100 items"):
        rows_at_once(MetricsSettings(memory_mb=0.001), HUNDRED, with_seen=False)


def test_no_more_users_are_scored_at_once_than_the_settings_allow():
    sizes = {True: [], False: []}
    for filter_seen, shown in sizes.items():

        def score(batch: ExampleBatch, shown=shown) -> torch.Tensor:
            shown.append(len(batch.target))
            return torch.zeros(len(batch.target), 15)

        metrics = MetricsSettings(ks=[1], filter_seen=filter_seen, memory_mb=7 * (12 * 15 + 8192) / 2**20)
        evaluate(score, tiny_dataset(), "val", metrics, history_length=4, device=CPU, title="test")
    assert sizes == {True: [6, 6], False: [7, 5]}  # seen items take memory too


def test_the_model_is_shown_no_more_than_its_history_length():
    shown = []

    def score(batch: ExampleBatch) -> torch.Tensor:
        shown.append(batch.history)
        return torch.zeros(len(batch.target), 15)

    run(score, tiny_dataset(), "test", length=4)
    expected = [(log[:-1][-4:] + [0] * 4)[:4] for log in tiny_logs()]
    assert torch.cat(shown).tolist() == expected


def test_an_evaluation_is_told_whole():
    columns = [torch.tensor(column) for column in ([7, 8], [0, 4], [5, 6], [1, 3])]
    lists = Lists(torch.zeros(2, 1).int(), torch.zeros(2), torch.zeros(2))
    evaluation = Evaluation(*columns, metrics={"HR@1": 0.5}, seconds=0.5, lists=lists)
    assert json.loads(json.dumps(evaluation.to_json())) == {
        "metrics": {"HR@1": 0.5},
        "ms_per_1000_users": 250_000,
        "example_id": [7, 8],
        "user": [0, 4],
        "target": [5, 6],
        "rank": [1, 3],
    }


def test_only_scoring_and_ranking_are_timed(monkeypatch):
    ticks = iter([0.0, 1.0, 10.0, 12.0, 20.0, 24.0])
    monkeypatch.setattr("src.evaluation.ranking.time.perf_counter", lambda: next(ticks))
    assert run(lambda batch: torch.zeros(len(batch.target), 15), tiny_dataset(), "val").seconds == 1 + 2 + 4


# --- what is kept of every user


def test_no_probability_is_above_one_whatever_scores_are_written_in():
    scores = torch.zeros(12, 15, dtype=torch.float64)
    scores[:, 0], scores[:, 1] = 2.0**24, 2.0**24 + 1  # the same number in float32
    lists = run(lambda batch: scores[: len(batch.target)], tiny_dataset(), "test").lists
    assert lists.log_likelihood.max() <= 0 and lists.top_probability.max() <= 1


@pytest.mark.parametrize("filter_seen", [False, True])
def test_lists_and_likelihoods_equal_a_literal_loop(filter_seen):
    dataset, model = tiny_dataset(), student("sasrec")
    lists = run(lambda batch: model.predict(batch.history), dataset, "test", filter_seen=filter_seen).lists
    assert (lists.top_items.dtype, lists.top_items.shape) == (torch.int32, (12, 15))  # the catalogue is shorter than 20
    assert lists.gates is None and set(lists.tensors()) == {"top_items", "log_likelihood", "top_probability"}
    for row, log in enumerate(tiny_logs()):
        *history, target = log
        scores = model.predict(torch.tensor([history[-6:]]))[0].tolist()
        rivals = [item for item in range(1, 16) if item == target or not (filter_seen and item in history)]
        weight = {item: math.exp(scores[item - 1]) for item in rivals}
        best = sorted(rivals, key=lambda item: -scores[item - 1])
        assert lists.top_items[row].tolist() == best + [0] * (15 - len(best))
        share = {item: weight[item] / sum(weight.values()) for item in rivals}
        assert lists.log_likelihood[row].item() == pytest.approx(math.log(share[target]), abs=1e-5)
        assert lists.top_probability[row].item() == pytest.approx(share[best[0]], abs=1e-5)


def test_lists_are_as_long_as_the_largest_cut_off_where_that_is_beyond_twenty():
    scores = torch.rand(2, 100)
    assert run(lambda batch: scores, HUNDRED, "test", ks=(1,)).lists.top_items.shape == (2, 20)
    assert run(lambda batch: scores, HUNDRED, "test", ks=(1, 30)).lists.top_items.shape == (2, 30)


def test_a_scorers_own_tensor_is_left_as_it_is():
    dataset, scores = dataset_of([[1, 2, 3, 1]], ["a", "b", "c", "d"]), torch.zeros(1, 4)
    run(lambda batch: scores, dataset, "test", filter_seen=True)
    assert scores.tolist() == [[0.0] * 4]


def test_a_cut_off_beyond_the_catalogue_is_refused():
    with pytest.raises(UserError, match=r"metrics.ks=\[1, 16\] asks for more items than the catalogue's 15"):
        run(lambda batch: torch.zeros(1, 15), tiny_dataset(), "val", ks=[1, 16])


def test_an_empty_split_is_refused():
    empty = dataset_of([[1, 2, 3]], num_train=[3])
    with pytest.raises(UserError, match="Dataset tiny has no val examples"):
        run(lambda batch: torch.zeros(1, 15), empty, "val")
