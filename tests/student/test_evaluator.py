import pytest
import torch

from src.core.precision import best_device
from src.evaluation.ranking import evaluate
from src.evaluation.settings import MetricsSettings
from src.student.evaluator import evaluate_student
from tests.student.students import NAMES, student
from tests.worlds import tiny_dataset


@pytest.mark.parametrize("max_rows", [1, 5, 100])
@pytest.mark.parametrize("filter_seen", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_a_student_is_evaluated_by_its_predictions(name, filter_seen, max_rows):
    model, dataset = student(name), tiny_dataset()
    metrics = MetricsSettings(ks=[1, 3], filter_seen=filter_seen, max_rows=max_rows)
    found = evaluate_student(model, dataset, "val", metrics, "test")
    expected = evaluate(
        lambda batch: model.predict(batch.history),
        dataset,
        "val",
        MetricsSettings(ks=[1, 3], filter_seen=filter_seen),
        history_length=model.history_length,
        device=best_device(),
        title="test",
    )
    for column in ("example_id", "user", "target", "rank"):
        assert torch.equal(getattr(found, column), getattr(expected, column)), column
    assert found.metrics == pytest.approx(expected.metrics)
    assert len(found.rank.unique()) > 3


def test_the_split_is_the_one_that_is_asked_for():
    model, dataset = student("sasrec"), tiny_dataset()
    metrics = MetricsSettings(ks=[1])
    found = {split: evaluate_student(model, dataset, split, metrics, "test") for split in ("val", "test")}
    for split, evaluation in found.items():
        assert torch.equal(evaluation.example_id, dataset.examples[split].example_id)
