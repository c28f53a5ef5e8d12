import pytest

from src import evaluate, load_dataset, load_student
from src.core.errors import UserError
from src.exp.stages.road import Road
from tests.exp.roads import SMALL, place, raw_log, run_in


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
