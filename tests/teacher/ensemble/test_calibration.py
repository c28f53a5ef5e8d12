import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from scipy.optimize import minimize_scalar

from src.core.metrics import ndcg, rank_of_target
from src.core.seed import generator
from src.data.dataset import ExampleBatch
from src.teacher.ensemble import calibration
from src.teacher.ensemble.calibration import (
    Calibrated,
    Calibration,
    EnsembleMember,
    best_weight,
    calibrate,
    ensemble_scores,
)
from src.teacher.export import export_teacher_outputs
from src.teacher.ilora_model import ILoRAModel
from src.teacher.settings import ExportSettings
from src.teacher.user_pass import UserPassModel
from tests.teacher.teachers import HISTORY_LENGTH, first_batch, tiny_teacher
from tests.worlds import tiny_dataset

DATASET = tiny_dataset()
VAL = DATASET.examples["val"]
BATCH = DATASET.batch(VAL, HISTORY_LENGTH, with_seen=True)
HALVES = [DATASET.batch(VAL.subset(rows), HISTORY_LENGTH, with_seen=True) for rows in torch.arange(12).split(7)]
CPU = torch.device("cpu")
WEIGHTS = [0.0, 0.5, 1.0, 2.0, 7.0]
KINDS = [ILoRAModel, UserPassModel]


def distinct(kind=ILoRAModel) -> ILoRAModel:
    """A teacher whose own ranking and whose student's both tell items apart."""
    model = tiny_teacher(DATASET, kind=kind, prompt_items=HISTORY_LENGTH)
    model.user_encoder.items.ids.weight.data.mul_(30)
    return model


# --- joining


def test_two_experts_that_agree_say_together_what_each_says_alone():
    p = torch.tensor([[0.5, 0.3, 0.2]])
    for weight in WEIGHTS:
        both = ensemble_scores(p.log() + 3, p.log() - 1, weight)  # what all scores share says nothing
        torch.testing.assert_close(both.softmax(-1), p)


def test_a_pool_of_opinions_multiplies_probabilities():
    teacher, student = torch.tensor([[0.5, 0.3, 0.2]]), torch.tensor([[0.1, 0.8, 0.1]])
    both = ensemble_scores(teacher.log() + 3, student.log() - 1, 2.0)
    torch.testing.assert_close(both.exp(), (teacher * student**2) ** (1 / 3))


@pytest.mark.parametrize("kind", KINDS)
def test_a_weight_joins_the_students_ranking_at_a_temperature(kind):
    model = tiny_teacher(DATASET, kind=kind)
    alone, student = model.score(BATCH), model.user_encoder.predict(BATCH.history)
    model.calibration = Calibration(0.7, 2.5)
    expected = (alone.log_softmax(1) + 0.7 * student.log_softmax(1)) / 1.7 / 2.5
    torch.testing.assert_close(model.score(BATCH), expected, rtol=1e-4, atol=1e-5)
    model.calibration = Calibration(0.0, 2.5)
    torch.testing.assert_close(model.score(BATCH), alone / 2.5)


@pytest.mark.parametrize("kind", KINDS)
def test_training_examples_are_ranked_with_the_same_weight(kind):
    model = tiny_teacher(DATASET, kind=kind, prompt_items=HISTORY_LENGTH)
    model.calibration = Calibration(0.7, 0.5)
    asked = DATASET.examples["train"].sample(10, generator(0))
    expected = model.score(DATASET.batch(asked, HISTORY_LENGTH))
    rows = []
    for scored in model.scores_in_batches(DATASET, asked):
        torch.testing.assert_close(scored.scores[:], expected[scored.rows], rtol=1e-4, atol=1e-5)
        rows += scored.rows.tolist()
    assert sorted(rows) == list(range(10))


def test_training_does_not_see_the_calibration():
    model = tiny_teacher(DATASET)
    before = model.training_loss(first_batch(DATASET, 4))
    model.calibration = Calibration(2.0, 3.0)
    assert torch.equal(model.training_loss(first_batch(DATASET, 4)), before)


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_the_students_half_is_float32_under_autocast(kind):
    model = distinct(kind)
    expected = model.user_encoder.predict(BATCH.history)
    with torch.autocast("cpu", torch.bfloat16):
        own, student = model.scores_of_both(BATCH)
        model.calibration = Calibration(1e6)  # the student's ranking alone, as far as float32 tells
        joined = model.score(BATCH)
    assert own.dtype == joined.dtype == torch.float32
    assert torch.equal(student, expected)
    ranks = [rank_of_target(scores, BATCH.target) for scores in (joined, ensemble_scores(own, expected, 1e6))]
    assert torch.equal(*ranks)


# --- choosing weight and temperature


def literal_cross_entropy(scores: torch.Tensor) -> float:
    return F.cross_entropy(scores.double(), BATCH.target - 1).item()


@pytest.mark.parametrize(("kept_bytes", "expected"), [(2**20, [7, 5]), (5 * 15 * 8, [7, 5, 7]), (0, [7, 5, 7, 5])])
def test_every_weight_is_judged_on_the_same_ranking_read_again_only_where_it_is_too_large(
    monkeypatch, kept_bytes, expected
):
    model, read = distinct(), []
    assert DATASET.num_items == 15
    own_scores = model.own_scores
    once = calibrate(model, HALVES, WEIGHTS, CPU)
    monkeypatch.setattr(calibration, "KEPT_BYTES", kept_bytes)
    monkeypatch.setattr(model, "own_scores", lambda batch: read.append(len(batch.target)) or own_scores(batch))
    found = calibrate(model, HALVES, WEIGHTS, CPU)
    assert read == expected
    assert found == once
    assert list(found) == WEIGHTS
    own, student = model.scores_of_both(BATCH)
    of_each = {}
    for weight, of in found.items():
        model.calibration = Calibration(weight, of.temperature)
        expected_ndcg = ndcg(rank_of_target(model.score(BATCH), BATCH.target, BATCH.seen), 10).mean()
        assert of.ndcg == pytest.approx(float(expected_ndcg))
        of_each[weight] = ndcg(rank_of_target(model.score(BATCH), BATCH.target, BATCH.seen), 10).double()
        summed = own.log_softmax(1) + weight * student.log_softmax(1)
        assert of.summed == pytest.approx(literal_cross_entropy(summed), abs=1e-5)
        assert of.normalised == pytest.approx(literal_cross_entropy(summed / (1 + weight)), abs=1e-5)
        assert of.calibrated == pytest.approx(literal_cross_entropy(model.score(BATCH)), abs=1e-5)

    best = max(of_each.values(), key=torch.mean)
    for weight, of in found.items():
        behind = (best - of_each[weight]).tolist()
        assert of.behind == pytest.approx(sum(behind) / len(behind))
        assert of.behind_error == pytest.approx(np.std(behind) / len(behind) ** 0.5)


def with_ndcg(behind: float, error: float, cross_entropy: float) -> Calibrated:
    return Calibrated(0.1 - behind, behind, error, 1.0, cross_entropy, cross_entropy, cross_entropy, False)


def test_likelihood_chooses_among_weights_that_rank_as_well_as_the_best():
    found = {
        0.0: with_ndcg(0.03, 0.01, 5.0),  # the likeliest, but it ranks worse
        0.5: with_ndcg(0.0, 0.0, 6.0),
        1.0: with_ndcg(0.009, 0.01, 5.8),
        2.0: with_ndcg(0.01, 0.01, 5.9),
    }
    assert best_weight(found) == 1.0
    assert best_weight({weight: found[weight] for weight in (0.0, 0.5)}) == 0.5


def test_no_other_temperature_is_better_and_none_is_worse_than_knowing_nothing():
    model = distinct()
    own, student = model.scores_of_both(BATCH)
    for weight, of in calibrate(model, HALVES, WEIGHTS, CPU).items():
        scores = ensemble_scores(own, student, weight)
        fine = [literal_cross_entropy(scores / 2 ** (step / 50)) for step in range(-600, 601)]
        assert of.calibrated < min(fine) + 1e-4
        assert of.calibrated <= of.normalised
        assert of.calibrated < min(of.summed, math.log(DATASET.num_items)) + 1e-3


class Told(EnsembleMember):
    """Scores that are given, by example; the student says nothing."""

    def __init__(self, scores: torch.Tensor) -> None:
        super().__init__()
        self.scores = scores

    def scores_of_both(self, batch: ExampleBatch) -> tuple[torch.Tensor, torch.Tensor]:
        own = self.scores[batch.example_id]
        return own, torch.zeros_like(own)


def of_scores(scores: torch.Tensor, columns: torch.Tensor, rows_at_once: int) -> Calibrated:
    """What is found of scores `[n, N]` alone and answers `[n]`, read in batches."""
    rows = torch.arange(len(scores)).split(rows_at_once)
    batches = [ExampleBatch(row, torch.ones(len(row), 1, dtype=torch.long), columns[row] + 1) for row in rows]
    return calibrate(Told(scores), batches, [0.0], CPU)[0.0]


@pytest.mark.parametrize("temperature", [0.0005, 0.01, 0.1, 0.37, 1.0, 5.0, 20.0, 84.0, 200.0, 2600.0])
def test_the_temperature_that_made_the_answers_is_found_and_its_likelihood_is_the_measured_one(temperature):
    """Answers drawn from softmax(z), heavy tails in z, told as T z: what is found is as good as the best that there is,
    however large T.
    """
    draw = np.random.default_rng(0)
    z = torch.from_numpy(draw.standard_t(4.0, (2_000, 50)))
    answers = torch.multinomial(z.softmax(1), 1, generator=generator(0)).squeeze(1)
    scores = (temperature * z).float()
    best = minimize_scalar(lambda log: F.cross_entropy(scores.double() * math.exp(log), answers).item(), (-9.0, 8.0))
    found = of_scores(scores, answers, 700)
    assert found.temperature == pytest.approx(temperature, rel=0.15)
    assert found.temperature == pytest.approx(math.exp(-best.x), rel=0.006)
    assert best.fun - 1e-6 < found.calibrated < best.fun + 1e-4
    told = F.cross_entropy(scores.double() / found.temperature, answers).item()
    assert found.calibrated == pytest.approx(told, abs=2e-6)
    assert not found.at_end


def test_scores_that_are_worse_than_chance_are_made_all_but_uniform_and_keep_their_order():
    scores = torch.randn(50, 12, generator=generator(0))
    found = of_scores(scores, scores.argmin(1), 50)
    assert math.log(12) < found.calibrated < math.log(12) + 0.01 < found.normalised
    assert (found.temperature, found.at_end) == (4096.0, True)
    assert torch.equal((scores / found.temperature).argsort(1), scores.argsort(1))


def test_scores_that_are_never_wrong_and_too_close_to_say_so_are_made_as_sure_as_can_be():
    scores = torch.tensor([[1e-5, 0.0, 0.0], [0.0, 0.0, 2e-5]])
    found = of_scores(scores, scores.argmax(1), 1)
    assert (found.temperature, found.at_end) == (1 / 4096, True)
    told = F.cross_entropy(scores.double() * 4096, scores.argmax(1)).item()
    assert found.calibrated == pytest.approx(told, abs=1e-6)


def test_where_nothing_is_left_to_win_the_temperature_stays_within_its_ends():
    scores = torch.eye(5) * 30
    found = of_scores(scores, torch.arange(5), 2)
    assert found.calibrated == pytest.approx(0.0, abs=1e-6) and not found.at_end


@pytest.mark.parametrize("weight", [0.0, 0.7, 2.0])
def test_a_temperature_changes_no_rank(weight):
    model, ranks = distinct(), []
    for temperature in (1.0, 1 / 4096, 0.07, 3.3, 4096.0):
        model.calibration = Calibration(weight, temperature)
        ranks.append(rank_of_target(model.score(BATCH), BATCH.target, BATCH.seen))
    assert all(torch.equal(rank, ranks[0]) for rank in ranks)
    assert len(ranks[0].unique()) > 3


# --- what is exported


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("weight", [0.0, 0.5, 2.0])
def test_exported_scores_are_the_calibrated_log_probabilities(kind, weight, tmp_path):
    model = distinct(kind)
    model.calibration = Calibration(weight, 1.7)
    asked, whole = DATASET.examples["train"], ExportSettings(k=DATASET.num_items, exclude_seen=False)
    export_teacher_outputs(model, DATASET, asked, tmp_path / "outputs", whole, 5, dict)
    written = load_file(tmp_path / "outputs" / "rankings.safetensors")["scores"]
    torch.testing.assert_close(written.exp().sum(1), torch.ones(len(asked)), rtol=0, atol=1e-4)
    own, student = model.scores_of_both(DATASET.batch(asked, HISTORY_LENGTH))
    joined = own.log_softmax(1) + weight * student.log_softmax(1)
    expected = (joined / (1 + weight) / 1.7).log_softmax(1).sort(1, descending=True).values
    torch.testing.assert_close(written, expected, rtol=1e-3, atol=1e-4)
