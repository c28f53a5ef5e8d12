import pytest
import torch

from src import evaluate, load_dataset, load_student, recommend
from src.core.errors import UserError
from src.exp.stages.road import Road
from tests.exp.roads import SMALL, place, raw_log, run_in
from tests.student.students import student
from tests.worlds import tiny_dataset


@pytest.mark.slow
def test_a_student_is_loaded_and_ranks_as_its_command_said(tmp_path):
    data = f"paths.raw_dirs=[{raw_log(tmp_path / 'raw')}]"
    road = Road(run_in(tmp_path, data))
    ((evaluation,),) = road.evaluations("baseline")
    assert road.go(road.prepared, road.baseline, evaluation)
    dataset = load_dataset(*SMALL, *place(tmp_path), data)
    model = load_student(road.baseline.folder, dataset)
    found = evaluate(model, dataset, ks=[1, 5])
    assert found.rank.tolist() == evaluation.figures["rank"]
    assert found.metrics["NDCG@5"] == evaluation.figures["metrics"]["NDCG@5"]


def test_wrong_metrics_are_told_in_one_sentence():
    with pytest.raises(UserError, match=r"ks=\[0\] must be a list of whole numbers above 0"):
        evaluate(None, None, ks=[0])


def test_what_is_recommended_is_what_scores_highest():
    dataset = tiny_dataset()
    model = student("sasrec").eval()
    history = ["30", "70", "20"]
    scores = model.predict(torch.tensor([[3, 7, 2]]))[0].tolist()
    found = recommend(model, dataset, history, k=4)
    expected = sorted(range(1, 16), key=lambda item: -scores[item - 1])
    assert [each.raw_id for each in found] == [str(10 * item) for item in expected[:4]]
    assert [each.title for each in found] == [dataset.catalogue.title(item) for item in expected[:4]]
    assert [each.score for each in found] == pytest.approx([scores[item - 1] for item in expected[:4]])
    unseen = recommend(model, dataset, history, k=15, filter_seen=True)
    assert [each.raw_id for each in unseen] == [str(10 * item) for item in expected if item not in (3, 7, 2)]


def test_of_a_long_history_the_newest_part_is_read_and_equal_scores_keep_the_order():
    dataset, model = tiny_dataset(), student("sasrec").eval()
    newest = ["10", "20"] * model.history_length
    assert recommend(model, dataset, ["150", *newest]) == recommend(model, dataset, newest)
    model.predict = lambda history: torch.zeros(1, 15)
    assert [each.raw_id for each in recommend(model, dataset, ["150"], k=3)] == ["10", "20", "30"]


@pytest.mark.parametrize(("history", "k", "message"), [
    ([], 5, "needs a history"), (["10"], 0, "k above 0"), (["10", "11"], 5, "Item '11' is not in the catalogue"),
])  # fmt: skip
def test_a_history_that_nothing_can_follow_is_refused(history, k, message):
    with pytest.raises(UserError, match=message):
        recommend(student("sasrec"), tiny_dataset(), history, k)
