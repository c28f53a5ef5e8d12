from itertools import pairwise
from math import inf

import polars as pl
import pytest
import torch

from src.data.dataset import Dataset, ExampleBatch
from src.exp.stages.teacher.recommender import TeacherRecommender
from src.serve.batch import recommend_to_file
from src.serve.recommender import Query
from tests.exp.roads import road_in
from tests.worlds import tiny_dataset

DATASET = tiny_dataset()
TEACHERS = {
    "ensemble": [
        "ensemble=unlike",
        "ensemble.language_model=false",
        "active=all",
        "active.share=1.0",
        *(f"ensemble.members.{name}.train.max_epochs=1" for name in ("bsarec", "gru4rec", "caser", "texts")),
    ],
    "generation": ["teacher=ilora_generation", "teacher/llm=tiny_random_causal", "teacher.generation.candidates=4"],
}


@pytest.fixture(autouse=True)
def raw_user_ids(monkeypatch) -> list[str]:
    """Those of the dataset, which lies in memory alone."""
    ids = [f"u{user}" for user in range(DATASET.num_users)]
    monkeypatch.setattr(Dataset, "raw_user_ids", lambda self: ids)
    return ids


@pytest.fixture
def teacher(made) -> TeacherRecommender:
    return TeacherRecommender(made().who_teaches)


def literal(recommender: TeacherRecommender, history: list[int], excluded: set[int], k: int) -> list[tuple[int, float]]:
    """The k best by the log-softmax of the teacher's scores of one history, alone, in Python."""
    model = recommender.model
    shown = history[-model.history_length :]
    padded = torch.tensor([shown + [0] * (model.history_length - len(shown))])
    batch = ExampleBatch(torch.tensor([0]), padded, torch.tensor([1]))
    with torch.inference_mode():
        log_p = model.score(batch)[0].double().log_softmax(0).tolist()
    told = [(item, score) for item, score in enumerate(log_p, start=1) if item not in excluded]
    return sorted(told, key=lambda each: -each[1])[:k]


@pytest.mark.parametrize("filter_seen", [True, False])
def test_each_user_is_recommended_what_his_whole_log_leads_the_teacher_to(teacher, raw_user_ids, filter_seen):
    histories = [teacher.files.history(user) for user in range(DATASET.num_users)]
    logs = [DATASET.item_log[a:b].tolist() for a, b in pairwise(DATASET.offsets)]
    assert histories == logs and teacher.files.raw_user_ids == raw_user_ids
    queries = [Query(each, each if filter_seen else (), k=4) for each in histories]
    for query, ranking in zip(queries, teacher.rank(queries), strict=True):
        expected = literal(teacher, list(query.history), set(query.excluded), 4)
        assert (ranking.by, ranking.items) == ("model", [item for item, _ in expected])
        assert ranking.scores == pytest.approx([score for _, score in expected], abs=1e-4)


def test_however_many_are_asked_for_together_each_has_his_own(teacher, monkeypatch):
    histories = [teacher.files.history(user) for user in range(DATASET.num_users)]
    queries = [Query(each, each, k=1 + place % 5) for place, each in enumerate(histories)]
    together = teacher.rank(queries)
    monkeypatch.setattr("src.exp.stages.teacher.recommender.rows_at_once", lambda *_, **__: 3)
    assert [each.items for each in teacher.rank(queries)] == [each.items for each in together]
    assert [len(each.items) for each in together] == [query.k for query in queries]


def test_no_more_than_is_left_is_recommended_and_without_a_history_what_was_taken_most(teacher):
    counts = DATASET.train_item_counts().tolist()
    everything, nothing = teacher.rank([Query([3, 5, 3], [3, 5], k=100), Query([], k=3)])
    assert sorted(everything.items) == [item for item in range(1, 16) if item not in (3, 5)]
    assert all(score > -inf for score in everything.scores)
    best = sorted(range(1, 16), key=lambda item: -counts[item])[:3]
    assert (nothing.by, nothing.items) == ("popularity", best)
    assert nothing.scores == [counts[item] for item in best]


def test_its_lists_are_written_with_raw_ids_and_called_the_teachers(teacher, tmp_path):
    users = [*teacher.files.raw_user_ids, "nobody"]
    recommend_to_file(teacher, users, tmp_path / "teacher.parquet", k=3, chunk=4, by="teacher")
    found, catalogue = pl.read_parquet(tmp_path / "teacher.parquet"), DATASET.catalogue
    assert found["user"].unique(maintain_order=True).to_list() == users
    assert set(found.filter(pl.col("user") != "nobody")["by"]) == {"teacher"}
    (ranking,) = teacher.rank([Query(history := teacher.files.history(2), history, k=3)])
    rows = found.filter(pl.col("user") == users[2])
    assert rows["item"].to_list() == [catalogue.raw_ids[item - 1] for item in ranking.items]
    assert rows["title"].to_list() == [catalogue.titles[item - 1] for item in ranking.items]


def test_another_teacher_has_another_version(made, teacher):
    again = TeacherRecommender(made().who_teaches)
    assert again.files.version == teacher.files.version and len(again.files.version) == 16
    other = made("teacher.train.max_epochs=2")
    assert other.go(other.prepared, other.teacher, other.calibration)
    assert TeacherRecommender(other.who_teaches).files.version != teacher.files.version


@pytest.mark.slow
@pytest.mark.parametrize("kind", TEACHERS)
def test_whatever_teaches_recommends(tmp_path, kind):
    road = road_in(tmp_path, DATASET, *TEACHERS[kind])
    assert road.go(road.prepared, *road.teaching()[:-1])
    recommender = TeacherRecommender(road.who_teaches)
    histories = [recommender.files.history(user) for user in range(DATASET.num_users)]
    queries = [Query(each, each, k=3) for each in histories]
    together = recommender.rank(queries)
    for ranking, query in zip(together, queries, strict=True):
        assert len(ranking.items) == 3 and not set(ranking.items) & set(query.history)
    assert recommender.rank(queries[5:6])[0].items == together[5].items  # candidates are drawn by the history alone
