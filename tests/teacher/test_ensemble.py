import pytest
import torch

from src.core.metrics import ndcg, rank_of_target
from src.core.seed import generator
from src.teacher.ensemble import ensemble_scores, ndcg_by_weight
from src.teacher.ilora_model import ILoRAModel
from src.teacher.user_pass import UserPassModel
from tests.teacher.teachers import HISTORY_LENGTH, first_batch, tiny_teacher
from tests.worlds import tiny_dataset

DATASET = tiny_dataset()
VAL = DATASET.examples["val"]
BATCH = DATASET.batch(VAL, HISTORY_LENGTH, with_seen=True)
CPU = torch.device("cpu")


def test_a_product_of_experts_multiplies_probabilities():
    teacher, student = torch.tensor([[0.5, 0.3, 0.2]]), torch.tensor([[0.1, 0.8, 0.1]])
    both = ensemble_scores(teacher.log() + 3, student.log() - 1, 2.0)  # what all scores share says nothing
    torch.testing.assert_close(both.exp(), teacher * student**2)


@pytest.mark.parametrize("kind", [ILoRAModel, UserPassModel])
def test_a_weight_joins_the_students_ranking(kind):
    model = tiny_teacher(DATASET, kind=kind)
    alone = model.score(BATCH)
    student = model.user_encoder.predict(BATCH.history)
    model.student_weight.fill_(0.7)
    expected = alone.log_softmax(1) + 0.7 * student.log_softmax(1)
    torch.testing.assert_close(model.score(BATCH), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", [ILoRAModel, UserPassModel])
def test_training_examples_are_ranked_with_the_same_weight(kind):
    model = tiny_teacher(DATASET, kind=kind, prompt_items=HISTORY_LENGTH)
    model.student_weight.fill_(0.7)
    asked = DATASET.examples["train"].sample(10, generator(0))
    expected = model.score(DATASET.batch(asked, HISTORY_LENGTH))
    rows = []
    for scored in model.scores_in_batches(DATASET, asked):
        torch.testing.assert_close(scored.scores, expected[scored.rows], rtol=1e-4, atol=1e-5)
        rows += scored.rows.tolist()
    assert sorted(rows) == list(range(10))


def test_training_does_not_see_the_student_weight():
    model = tiny_teacher(DATASET)
    before = model.training_loss(first_batch(DATASET, 4))
    model.student_weight.fill_(2.0)
    assert torch.equal(model.training_loss(first_batch(DATASET, 4)), before)


def test_every_weight_is_judged_on_the_same_validation_ranking():
    model = tiny_teacher(DATASET)
    halves = [DATASET.batch(VAL.subset(rows), HISTORY_LENGTH, with_seen=True) for rows in torch.arange(12).split(7)]
    found = ndcg_by_weight(model, halves, [0, 0.5, 3.0], CPU)
    for weight, value in found.items():
        model.student_weight.fill_(weight)
        expected = ndcg(rank_of_target(model.score(BATCH), BATCH.target, BATCH.seen), 10).mean()
        assert value == pytest.approx(float(expected))
