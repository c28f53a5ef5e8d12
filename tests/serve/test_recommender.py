"""Against PyTorch, one history at a time, and Python's own sorting."""

import json
import random
import subprocess
import sys

import pytest
import torch

import src.serve.recommender
from src.core.errors import UserError
from src.core.paths import ROOT
from src.serve.recommender import Answer, Query, Recommender
from tests.serve.served import best_of, grown, remade, top
from tests.student.students import L

ITEMS = range(1, 16)


def raw(*items: int) -> list[str]:
    return [str(10 * item) for item in items]


def assert_told(recommender: Recommender, answer: Answer, expected: list[tuple[int, float]]) -> None:
    files = recommender.files
    assert answer.by == "model"
    assert [each.raw_id for each in answer.items] == raw(*(item for item, _ in expected))
    assert [each.title for each in answer.items] == [files.titles[item - 1] for item, _ in expected]
    assert [each.score for each in answer.items] == pytest.approx([score for _, score in expected], abs=1e-4)


@pytest.fixture(scope="module")
def model():
    return grown("sasrec")


# --- users, histories, lists


@pytest.mark.parametrize("filter_seen", [True, False])
def test_users_get_what_the_student_ranks_first_after_their_log(recommender, model, filter_seen):
    """Some have taken more than the student reads; all that they took is left out, not only what was read."""
    files = recommender.files
    answers = recommender.recommend(files.raw_user_ids, k=4, filter_seen=filter_seen)
    histories = [files.history(user) for user in files.raw_user_ids]
    assert min(map(len, histories)) < L < max(map(len, histories)) and len(answers) == 12
    for answer, history in zip(answers, histories, strict=True):
        assert_told(recommender, answer, best_of(model, history, set(history) if filter_seen else set(), 4))


def test_histories_need_not_be_in_the_log(recommender, model):
    histories = [[4], [15, 15, 2], [1, 2, 3, 4, 5, 6, 7, 8], [9, 8]]
    answers = recommender.recommend(histories=[raw(*each) for each in histories], k=3)
    for answer, history in zip(answers, histories, strict=True):
        assert_told(recommender, answer, best_of(model, history, set(history), 3))


def test_an_item_that_is_no_longer_read_is_still_left_out(recommender, model):
    long = [best_of(model, [7] * L, set(), 1)[0][0], *[7] * L]
    (seen,), (unseen,) = (
        recommender.recommend(histories=[raw(*long)], k=1, filter_seen=filter_seen) for filter_seen in (True, False)
    )
    assert unseen.items[0].raw_id == raw(long[0])[0] != seen.items[0].raw_id


@pytest.mark.parametrize("items", [[3], [12, 3, 3, 5], [1, 2], [], list(ITEMS)])
@pytest.mark.parametrize("exclude", [[], [3], [5, 12, 5]])
def test_lists_say_what_alone_and_what_not(recommender, model, items, exclude):
    answers = recommender.recommend(histories=[raw(1, 2), raw(5)], items=raw(*items), exclude=raw(*exclude))
    for answer, history in zip(answers, ([1, 2], [5]), strict=True):
        assert_told(recommender, answer, best_of(model, history, {*history, *exclude}, 10, set(items)))


def test_no_more_is_told_than_is_left(recommender, model):
    taken = list(range(3, 16))
    for k in (1, 2, 3, 15, 16, 10_000):
        (answer,) = recommender.recommend(histories=[raw(*taken)], k=k)
        assert_told(recommender, answer, best_of(model, taken, set(taken), k))
        assert len(answer.items) == min(k, 2)
    assert recommender.recommend(histories=[raw(*ITEMS)]) == [("model", [])]


def test_many_are_asked_at_once_and_answered_in_their_order(recommender, model):
    draw = random.Random(0)
    histories = [[draw.choice(ITEMS) for _ in range(draw.randint(0, 10))] for _ in range(600)]
    assert len(histories) > 2 * src.serve.recommender.AT_ONCE
    answers = recommender.recommend(histories=[raw(*each) for each in histories], k=2)
    for answer, history in zip(answers, histories, strict=True):
        if history:
            assert_told(recommender, answer, best_of(model, history, set(history), 2))
        else:
            assert answer.by == "popularity"


def test_each_question_of_a_batch_has_its_own_k_lists_and_exclusions(recommender, model):
    draw = random.Random(1)
    lists = [None, frozenset({1, 2, 3}), frozenset({4, 9, 14, 15}), frozenset()]
    queries = [
        Query(draw.choices(ITEMS, k=draw.randint(1, 9)), draw.sample(ITEMS, draw.randint(0, 5)), draw.choice(lists), k)
        for k in [1, 3, 40, 15] * 6
    ]
    for ranking, query in zip(recommender.rank(queries), queries, strict=True):
        expected = best_of(model, list(query.history), set(query.excluded), query.k, query.allowed)
        assert ranking.items == [item for item, _ in expected]
        assert ranking.scores == pytest.approx([score for _, score in expected], abs=1e-4)


def test_a_student_with_a_bias_of_its_own_keeps_it_where_a_list_is_given(caser_folder):
    served, model = Recommender.load(caser_folder), grown("caser_paper")
    for items in (None, [2, 4, 6, 8]):
        answers = served.recommend(histories=[raw(1)], items=None if items is None else raw(*items))
        assert_told(served, answers[0], best_of(model, [1], {1}, 10, items and set(items)))


# --- where there is nothing to go by


def popular(recommender: Recommender) -> list[int]:
    counts = recommender.files.counts.tolist()
    return sorted(ITEMS, key=lambda item: (-counts[item], item))


@pytest.mark.parametrize("asked", [{"users": ["nobody"]}, {"histories": [[]]}, {"histories": [["no item", "7"]]}])
def test_without_a_history_popular_items_are_recommended(recommender, asked):
    best, counts = popular(recommender), recommender.files.counts
    (answer,) = recommender.recommend(**asked, k=4)
    assert answer.by == "popularity"
    assert [each.raw_id for each in answer.items] == raw(*best[:4])
    assert [each.score for each in answer.items] == [counts[item] for item in best[:4]]
    assert answer.items[0].score > answer.items[-1].score
    assert top(recommender, **asked, k=100, exclude=raw(*best[:2])) == raw(*best[2:])
    assert top(recommender, **asked, items=raw(*best[5:8]), exclude=raw(best[6])) == raw(best[5], best[7])
    assert top(recommender, **asked, items=[]) == []


def test_without_a_history_it_can_be_refused(recommender):
    user = recommender.files.raw_user_ids[0]
    assert len(recommender.recommend([user], empty_history="refuse")) == 1
    with pytest.raises(UserError, match="in the history of 'nobody': no recommendation"):
        recommender.recommend([user, "nobody", "other"], empty_history="refuse")
    with pytest.raises(UserError, match="in the history of 1: no recommendation"):
        recommender.recommend(histories=[raw(1), ["?"]], empty_history="refuse")


def test_unknown_items_are_passed_over(recommender, model):
    (answer,) = recommender.recommend(
        histories=[["x", "10", "", "50", "10.0"]], items=[*raw(1, 2, 3, 4), "y"], exclude=["z", *raw(3)]
    )
    assert_told(recommender, answer, best_of(model, [1, 5], {1, 5, 3}, 10, {1, 2, 3, 4}))


@pytest.mark.parametrize("where", ["histories", "items", "exclude"])
def test_unknown_items_can_be_refused_wherever_they_stand(recommender, where):
    asked = {"histories": [raw(1)], "items": raw(2), "exclude": raw(3)}
    asked[where] = [[*raw(1), "x"]] if where == "histories" else [*asked[where], "x"]
    with pytest.raises(UserError, match="Item 'x' is not in the catalogue of 15 items"):
        recommender.recommend(**asked, unknown_items="refuse")


@pytest.mark.parametrize(
    "asked", [{}, {"users": ["1"], "histories": [["10"]]}, {"users": ["1"], "k": 0}, {"users": ["1"], "k": -1}]
)
def test_a_question_that_is_none_is_refused(recommender, asked):
    with pytest.raises(UserError, match="takes either users or histories, and k of 1 or more"):
        recommender.recommend(**asked)


@pytest.mark.parametrize(
    "asked",
    [
        {"users": "12"},
        {"users": [12]},
        {"histories": ["10", "20"]},
        {"histories": "10"},
        {"histories": [[10, 20]]},
        {"histories": [["10"]], "items": "20"},
        {"histories": [["10"]], "exclude": "20"},
    ],
)
def test_a_text_is_no_list_of_its_letters(recommender, asked):
    with pytest.raises(UserError, match="must be a list of raw ids, which are texts"):
        recommender.recommend(**asked)


def test_lists_may_be_read_once_alone(recommender):
    asked = {"histories": [raw(1)], "items": raw(2, 3, 4), "exclude": raw(3)}
    once = {"items": iter(asked["items"]), "exclude": iter(asked["exclude"])}
    assert recommender.recommend(**asked | once) == recommender.recommend(**asked)


@pytest.mark.parametrize("policy", [{"empty_history": "Refuse"}, {"unknown_items": "drop"}])
def test_a_policy_that_there_is_not_is_refused(recommender, policy):
    with pytest.raises(UserError, match="must be one of"):
        recommender.recommend(histories=[["10"]], **policy)


def test_nobody_is_answered_with_nothing(recommender):
    assert recommender.recommend([]) == recommender.recommend(histories=[]) == recommender.rank([]) == []


# --- what is like an item, and what carries a recommendation


@pytest.mark.parametrize("k", [1, 5, 14, 15, 99])
def test_similar_items_are_those_of_the_largest_cosine(recommender, model, k):
    table = model.item_table().detach()
    for item in ITEMS:
        cosines = torch.cosine_similarity(table[1:], table[item].unsqueeze(0))
        expected = sorted((other for other in ITEMS if other != item), key=lambda other: -cosines[other - 1])[:k]
        found = recommender.similar(str(10 * item), k)
        assert [each.raw_id for each in found] == raw(*expected)
        assert [each.score for each in found] == pytest.approx([float(cosines[i - 1]) for i in expected], abs=1e-5)


def test_an_unknown_item_is_like_none(recommender):
    with pytest.raises(UserError, match="Item '7' is not in the catalogue"):
        recommender.similar("7")


@pytest.mark.parametrize("history", [[1, 5, 3, 1, 9], [4, 4, 2], [15, 1, 2, 3, 4, 5, 6, 6]])
def test_carriers_are_the_items_without_which_the_score_is_lower(recommender, model, history):
    items, read = [2, 7, 9, 14], history[-L:]
    scores = dict(best_of(model, read, set(), 15))
    expected = []
    for item in items:
        lost = {}
        for carrier in set(read):
            less = [other for other in read if other != carrier]
            lost[carrier] = scores[item] - dict(best_of(model, less, set(), 15))[item]
        expected.append(sorted((each for each in lost if lost[each] > 0), key=lambda each: -lost[each]))
    assert recommender.carriers(history, items) == expected
    assert len({tuple(each) for each in expected}) > 1


def test_an_item_alone_carries_everything(recommender):
    assert recommender.carriers([4, 4, 4], [1, 2, 4]) == [[4], [4], [4]]


# --- files that do not work, and what is imported


def test_a_file_that_onnxruntime_cannot_run_is_refused(sasrec_folder, tmp_path):
    folder = remade(sasrec_folder, tmp_path / "m", graph=b"no graph")
    with pytest.raises(UserError, match=r"model\.onnx cannot be run by onnxruntime \(.*\): make it again"):
        Recommender.load(folder)


def test_a_lifted_item_comes_first(recommender, sasrec_folder, tmp_path):
    """What other tests tell models apart by."""
    last = int(top(recommender, histories=[raw(1)], k=15)[-1]) // 10
    other = Recommender.load(remade(sasrec_folder, tmp_path / "m", {last: 100.0}))
    for items in (None, raw(*ITEMS)):
        assert top(other, histories=[raw(1)], items=items, k=1) == raw(last)


def test_recommending_imports_no_pytorch(sasrec_folder):
    code = """
import json, sys
from src.serve.recommender import Recommender
answers = Recommender.load(sys.argv[1]).recommend(histories=[["10"]], k=2)
print(json.dumps([[each.raw_id for each in answers[0].items], sorted({"torch", "onnx"} & sys.modules.keys())]))
"""
    done = subprocess.run(
        [sys.executable, "-c", code, sasrec_folder], cwd=ROOT, capture_output=True, text=True, timeout=120, check=True
    )
    items, heavy = json.loads(done.stdout)
    assert len(items) == 2 and heavy == []
