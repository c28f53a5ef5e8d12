from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from src.data.dataset import Dataset
from src.data.rows import ExampleRows, TrainingExamples, TrainingWindows, WindowBatch
from src.distill.choices import WEIGHTINGS
from src.distill.data_bridge import TeacherOutputs, load_teacher_outputs
from src.distill.dros import propensity_scores
from src.distill.hint import Hint
from src.distill.kd_losses import PRESETS, DROLoss, RankingDistillationLoss
from src.distill.listwise_losses import LIST_LOSSES, ListLoss, listwise_kl
from src.distill.trainer_distill import DistillationTerms, DistilModule
from src.student.factory import create_student
from src.student.losses import CrossEntropy, NextItemLoss, SampledSoftmax
from src.student.models import SequentialRecommender
from src.student.store import load_student, save_student
from src.student.trainer_baseline import NextItemModule
from tests.distill.outputs import K, ranking_of, write_outputs
from tests.student.fitting import OPTIMISATION, fitted
from tests.student.students import NAMES, NUM_ITEMS, D, L, architecture, histories, student
from tests.worlds import tiny_dataset

GAMMAS = (0.3, 0.5, 0.1)
LOSS = CrossEntropy(torch.float32)


class Recorder(nn.Module):
    """Stands where a loss stands: keeps what it is handed and returns one term."""

    alpha = lam = 1.0
    asks_for_all_scores = True

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Tensor, ...]] = []

    def forward(self, *arguments: Tensor) -> dict[str, Tensor]:
        self.calls.append(arguments)
        return {"recorded": sum(each.sum() for each in (arguments[0], arguments[-1]) if each is not None)}


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return tiny_dataset()


@pytest.fixture(scope="module")
def outputs(dataset, tmp_path_factory) -> TeacherOutputs:
    """The teacher was asked about every third train example."""
    asked = dataset.examples["train"].example_id[::3].flip(0)
    folder = tmp_path_factory.mktemp("teacher") / "outputs"
    write_outputs(folder, dataset, asked, *ranking_of(len(asked), NUM_ITEMS))
    return load_teacher_outputs(folder, dataset, None)


def losses(dataset: Dataset, lam: float = 0.8, alpha: float = 1.0) -> tuple[RankingDistillationLoss, DROLoss]:
    propensity, preset = propensity_scores(dataset.train_item_counts()[1:], 0.05), PRESETS["corrected"]
    return RankingDistillationLoss(preset, propensity, lam, alpha, 1.0, GAMMAS), DROLoss(preset, propensity, alpha, 1.0)


def module_of(
    outputs: TeacherOutputs,
    ranking: nn.Module,
    dros: nn.Module,
    k: int = K,
    seed: int = 0,
    hint: Hint | None = None,
    weighting: str = "uniform",
    model: SequentialRecommender | None = None,
    list_losses: Sequence[ListLoss] = (),
) -> DistilModule:
    data = tiny_dataset()
    validation = ExampleRows(data, data.examples["val"], L, with_seen=False)
    return DistilModule(
        model or student("gru4rec"),
        LOSS,
        outputs,
        DistillationTerms(ranking, dros, list_losses, hint, WEIGHTINGS[weighting]),
        validation,
        k,
        OPTIMISATION,
        seed=seed,
    )


def whole_batch(dataset: Dataset) -> WindowBatch:
    windows = TrainingWindows(dataset, L)
    return windows[torch.arange(len(windows))]


def asked_positions(batch: WindowBatch) -> list[tuple[int, int]]:
    """Returns (row, place) of the positions whose example id is a multiple of three, in the order of the batch."""
    return [
        (row, place)
        for row, ids in enumerate(batch.example_id.tolist())
        for place, example_id in enumerate(ids)
        if example_id >= 0 and example_id % 3 == 0
    ]


def test_only_asked_positions_reach_the_ranking_loss(dataset, outputs):
    recorder, batch = Recorder(), whole_batch(dataset)
    module = module_of(outputs, recorder, losses(dataset, alpha=0)[1])
    module.loss_terms(batch)
    ((scores, candidates, distance, negatives, _, _, chosen),) = recorder.calls
    places = asked_positions(batch)
    assert len(places) == len(outputs.candidates) < (batch.target > 0).sum()
    everything = module.model.score(module.model.encode(batch.history))
    items, log_probability = ranking_of(len(places), NUM_ITEMS)
    for n, (row, place) in enumerate(places):
        answer = len(places) - 1 - batch.example_id[row, place] // 3  # the teacher answered in reverse order
        assert torch.allclose(scores[n], everything[row, place])
        assert candidates[n].tolist() == items[answer].tolist()  # columns, so the numbers of the file
        assert torch.equal(distance[n], -log_probability[answer])
    assert negatives.shape == (len(places),)
    assert torch.allclose(chosen, scores.gather(1, torch.cat([candidates, negatives.unsqueeze(1)], 1)), atol=1e-6)
    assert chosen.requires_grad and not scores.requires_grad


def test_unasked_positions_get_no_gradient_from_the_ranking_term(dataset, outputs):
    recorder, batch = Recorder(), whole_batch(dataset)
    module = module_of(outputs, recorder, losses(dataset, alpha=0)[1])
    real = batch.target > 0
    hidden = torch.zeros(real.sum(), D, requires_grad=True)
    module.states_with_targets = lambda batch: (hidden, batch.target[real], batch.example_id[real])
    module.loss_terms(batch)["recorded"].backward()
    assert torch.equal(hidden.grad.any(1), batch.example_id[real] % 3 == 0)


def test_a_batch_that_was_not_asked_about_has_no_ranking_term(dataset, outputs):
    recorder, batch = Recorder(), whole_batch(dataset)
    nothing = TeacherOutputs(
        outputs.item_embeddings, torch.full_like(outputs.row_of_example, -1), outputs.candidates, outputs.distance
    )
    terms = module_of(nothing, recorder, losses(dataset)[1]).loss_terms(batch)
    assert list(terms) == ["next_item", "dros"] and recorder.calls == []


@pytest.mark.parametrize(
    ("lam", "alpha", "names"),
    [
        (0.8, 1.0, ["next_item", "dros", "ranking_bce", "ranking_dros"]),
        (0.8, 0.0, ["next_item", "ranking_bce"]),
        (0.0, 1.0, ["next_item", "dros"]),
        (0.0, 0.0, ["next_item"]),
    ],
)
def test_the_loss_is_the_sum_of_the_terms_that_are_switched_on(dataset, outputs, monkeypatch, lam, alpha, names):
    batch, logged = whole_batch(dataset), {}
    module = module_of(outputs, *losses(dataset, lam, alpha))
    monkeypatch.setattr(module, "log_dict", lambda values, batch_size: logged.update(values))
    monkeypatch.setattr(module, "log", lambda name, value, batch_size: logged.update({name: value}))
    total = module.training_step(batch, 0)
    assert list(logged) == [*(f"train/{name}" for name in names), "train/loss"]
    assert logged.pop("train/loss") == total
    assert total.item() == pytest.approx(sum(value.item() for value in logged.values()), rel=1e-6)


def test_the_next_item_loss_is_the_baseline_s_and_terms_are_the_losses_of_what_they_are_handed(dataset, outputs):
    batch, (ranking, dros) = whole_batch(dataset), losses(dataset)
    recorder = Recorder()
    module = module_of(outputs, recorder, losses(dataset, alpha=0)[1])
    module.loss_terms(batch)
    real = batch.target > 0
    scores = module.model.score(module.model.encode(batch.history)[real])
    baseline = NextItemModule(student("gru4rec"), LOSS, OPTIMISATION).loss_terms(batch)
    expected = {**baseline, **dros(scores, batch.target[real] - 1), **ranking(*recorder.calls[0])}
    terms = module_of(outputs, ranking, dros).loss_terms(batch)
    assert list(terms) == list(expected)
    for name in terms:
        assert torch.allclose(terms[name], expected[name]), name


@pytest.mark.parametrize("name", LIST_LOSSES)
def test_other_losses_are_handed_what_the_teacher_says_of_the_asked_positions(dataset, outputs, name):
    batch, loss = whole_batch(dataset), ListLoss(name, 0.7, 2.0, torch.float32)
    module = module_of(outputs, *losses(dataset, lam=0, alpha=0), list_losses=[loss])
    terms = module.loss_terms(batch)
    assert list(terms) == ["next_item", name]
    recorder = Recorder()
    module_of(outputs, recorder, losses(dataset, alpha=0)[1]).loss_terms(batch)
    _, candidates, distance, *_ = recorder.calls[0]
    hidden = torch.stack([module.model.encode(batch.history)[place] for place in asked_positions(batch)])
    assert torch.allclose(terms[name], loss(module.model, hidden, candidates, distance, None), atol=1e-6)


@pytest.mark.parametrize("rest", [False, True])
def test_losses_that_share_a_softmax_have_the_gradient_of_each_alone(dataset, outputs, rest):
    """All at once against a next-item loss that is none the module knows, which shares nothing."""

    class Plain(NextItemLoss):
        made = None

        def __call__(self, *arguments):
            return LOSS(*arguments)

    batch, lists = whole_batch(dataset), [ListLoss(name, 0.7, 2.0, torch.float32, rest) for name in LIST_LOSSES]
    found = []
    for loss in (LOSS, Plain()):
        module = module_of(outputs, *losses(dataset, lam=0, alpha=0), list_losses=lists)
        module.loss = loss
        terms = module.loss_terms(batch)
        sum(terms.values()).backward()
        found.append((terms, [parameter.grad for parameter in module.model.parameters()]))
    (shared, gradients), (alone, expected) = found
    assert shared.keys() == alone.keys()
    assert all(torch.allclose(shared[name], alone[name]) for name in shared)
    assert all(torch.allclose(one, other, atol=1e-6) for one, other in zip(gradients, expected, strict=True))


def test_a_hint_finds_the_teacher_s_row_of_every_example(dataset, outputs):
    batch, states = whole_batch(dataset), torch.arange(len(outputs.candidates)).float().unsqueeze(1)
    hint = Hint(states, D, 0.5)
    torch.nn.init.zeros_(hint.projection.weight), torch.nn.init.zeros_(hint.projection.bias)
    rows = []
    hint.register_forward_hook(lambda _, arguments, __: rows.append(arguments[1]))
    terms = module_of(outputs, *losses(dataset, lam=0, alpha=0), hint=hint).loss_terms(batch)
    assert terms["hint"].item() == pytest.approx(0.5)  # standardised: the mean square is one
    asked = [batch.example_id[place].item() for place in asked_positions(batch)]
    assert rows[0].tolist() == [len(states) - 1 - example_id // 3 for example_id in asked]  # answered in reverse


@pytest.mark.parametrize("weighting", [name for name in WEIGHTINGS if name != "uniform"])
def test_weights_of_examples_reach_every_term_of_the_teacher_and_no_other(dataset, outputs, weighting):
    batch, recorder, kl = whole_batch(dataset), Recorder(), ListLoss("kl", 1.0, 1.0, torch.float32)
    module = module_of(outputs, recorder, losses(dataset, alpha=0)[1], weighting=weighting, list_losses=[kl])
    terms = module.loss_terms(batch)
    scores, candidates, distance, _, _, weights, _ = recorder.calls[0]
    each = listwise_kl(scores, candidates, distance, 1.0)
    assert weights.shape == each.shape and not weights.requires_grad
    assert weights.mean().item() == pytest.approx(1) and (weights >= 0).all() and weights.std() > 0
    assert torch.allclose(terms["kl"], (weights * each).mean())
    plain = module_of(outputs, *losses(dataset, lam=0, alpha=0)).loss_terms(batch)
    assert torch.allclose(terms["next_item"], plain["next_item"])
    assert not module.model.training  # as it was


def test_with_sparse_items_only_the_items_of_a_batch_its_lists_and_its_negatives_move(dataset, outputs, monkeypatch):
    """Of a catalogue with items that nobody has met, whose scores no term looks at."""
    loss = SampledSoftmax(torch.ones(NUM_ITEMS, dtype=torch.int64), 2, 0.0, True, True)
    drawn = torch.tensor([2, 7])
    loss.draw = lambda rows, device: drawn
    ranking, dros = losses(dataset, alpha=0)
    ranking.gammas = (0.3, 0.5, 0.0)
    lists = [ListLoss(name, 0.7, 1.0, torch.float32, name == "soft_targets", loss) for name in LIST_LOSSES]
    module = module_of(outputs, ranking, dros, list_losses=lists)
    module.loss, module.optimisation = loss, module.optimisation.model_copy(update={"sparse_items": True})
    monkeypatch.setattr(NextItemModule, "trainer", SimpleNamespace(estimated_stepping_batches=8))
    optimizer = module.configure_optimizers()["optimizer"]
    monkeypatch.setattr(module, "_negatives", lambda batch, asked, *_: torch.zeros_like(asked))
    batch = TrainingWindows(dataset, L)[torch.tensor([0])]
    before = module.model.items.ids.weight.clone()
    terms = module.loss_terms(batch)
    assert set(terms) == {"next_item", *LIST_LOSSES, "ranking_bce"}
    sum(terms.values()).backward()
    optimizer.step()
    moved = (module.model.items.ids.weight != before).any(1).nonzero().flatten().tolist()
    asked = [place for row, place in asked_positions(batch)]
    listed = outputs.candidates[outputs.row_of_example[batch.example_id[0, asked]]]
    known = {*batch.history.flatten().tolist(), *batch.target.flatten().tolist(), *listed.flatten().tolist(), 1, 2, 7}
    assert moved == sorted(known - {0}) and len(moved) < NUM_ITEMS


def test_weights_that_ask_for_no_other_scores_are_the_same_without_them(dataset):
    ranking, (candidates, distance) = losses(dataset, alpha=0)[0], ranking_of(4, NUM_ITEMS)
    scores, chosen = torch.randn(4, NUM_ITEMS), torch.randn(4, K + 1)
    assert ranking.asks_for_all_scores
    ranking.gammas = (0.3, 0.5, 0.0)
    assert not ranking.asks_for_all_scores
    negatives = torch.zeros(4, dtype=torch.int64)
    one, other = (
        ranking(each, candidates, -distance, negatives, chosen=chosen)["ranking_bce"]
        for each in (scores, scores.new_empty(4, 0))
    )
    assert torch.equal(one, other)


def test_the_importance_of_an_example_multiplies_its_weights(dataset, outputs):
    recorder = Recorder()
    module_of(outputs, recorder, losses(dataset, alpha=0)[1]).loss_terms(whole_batch(dataset))
    scores, candidates, distance, negatives, *_ = recorder.calls[0]
    ranking, importance = losses(dataset)[0], torch.zeros(len(scores))
    importance[2] = len(scores)
    one = ranking(scores[2:3], candidates[2:3], distance[2:3], negatives[2:3])
    weighted = ranking(scores, candidates, distance, negatives, None, importance)
    assert all(torch.allclose(one[name], weighted[name]) for name in one)


def test_fewer_candidates_are_the_teacher_s_first(dataset, outputs):
    recorder, batch = Recorder(), whole_batch(dataset)
    module_of(outputs, recorder, losses(dataset, alpha=0)[1], k=2).loss_terms(batch)
    _, candidates, distance, *_ = recorder.calls[0]
    row = outputs.row_of_example[batch.example_id[batch.target > 0]]
    row = row[row >= 0]
    assert torch.equal(candidates, outputs.candidates[row, :2] - 1)
    assert torch.equal(distance, outputs.distance[row, :2])


def test_negatives_are_everything_but_history_target_and_candidates(dataset, outputs):
    recorder, batch = Recorder(), whole_batch(dataset)
    module = module_of(outputs, recorder, losses(dataset, alpha=0)[1])
    for _ in range(300):
        module.loss_terms(batch)
    negatives = torch.stack([call[3] for call in recorder.calls])  # [300, m]
    for n, (row, place) in enumerate(asked_positions(batch)):
        taken = set(batch.history[row, : place + 1].tolist()) | {batch.target[row, place].item()}
        taken |= set((recorder.calls[0][1][n] + 1).tolist())
        assert set((negatives[:, n] + 1).tolist()) == set(range(1, NUM_ITEMS + 1)) - taken


@pytest.mark.parametrize("name", ["caser", "sasrec"])
def test_negatives_of_training_by_example_are_outside_the_whole_history(dataset, outputs, name):
    rows = TrainingExamples(dataset, L)
    batch, recorder = rows[torch.arange(len(rows))], Recorder()
    module = module_of(outputs, recorder, losses(dataset, alpha=0)[1])
    module.model = student(name)
    for _ in range(300):
        module.loss_terms(batch)
    negatives = torch.stack([call[3] for call in recorder.calls])  # [300, m]
    for n, (row, _) in enumerate(asked_positions(batch)):
        taken = set(batch.history[row].tolist()) | {batch.target[row, 0].item()} - {0}
        taken |= set((recorder.calls[0][1][n] + 1).tolist())
        assert set((negatives[:, n] + 1).tolist()) == set(range(1, NUM_ITEMS + 1)) - taken


def test_the_seed_draws_the_negatives(dataset, outputs):
    drawn = []
    for seed in (0, 0, 1):
        recorder = Recorder()
        module_of(outputs, recorder, losses(dataset, alpha=0)[1], seed=seed).loss_terms(whole_batch(dataset))
        drawn.append(recorder.calls[0][3].tolist())
    assert drawn[0] == drawn[1] != drawn[2]


def test_checkpoints_hold_the_student_alone(dataset, outputs):
    module = module_of(outputs, *losses(dataset))
    assert set(module.state_dict()) == {f"model.{name}" for name in module.model.state_dict()}


@pytest.mark.parametrize("name", NAMES)
def test_the_same_seed_gives_the_same_weights_to_the_bit(dataset, outputs, tmp_path, name):
    made = []

    def make() -> DistilModule:
        model = create_student(name, NUM_ITEMS, architecture(name, dropout=0.3))
        model.items.distil_from(outputs.item_embeddings, 0.3)
        made.append(model)
        return module_of(outputs, *losses(dataset), model=model)

    first, again = (fitted(make, dataset, tmp_path / run) for run in ("first", "again"))
    other = fitted(make, dataset, tmp_path / "other", seed=1)
    assert {"items.projection.weight", "items.projection.bias"} < set(first)
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not any(torch.equal(first[key], other[key]) for key in first if "norm" not in key)
    assert not first["items.ids.weight"][0].any()
    _folds_into_a_student_of_its_own(made[0].eval(), name, dataset, tmp_path / "student")


def test_what_is_resumed_after_an_epoch_ends_as_if_it_had_never_stopped(dataset, outputs, tmp_path):
    def make() -> DistilModule:
        model = create_student("sasrec", NUM_ITEMS, architecture("sasrec", dropout=0.3))
        return module_of(outputs, *losses(dataset), model=model, weighting="meta")

    def last(folder: Path) -> dict[str, Tensor]:
        return torch.load(folder / "checkpoints" / "student" / "last.ckpt", weights_only=True)["state_dict"]

    fitted(make, dataset, tmp_path / "whole", epochs=4)
    fitted(make, dataset, tmp_path / "first", epochs=2)
    fitted(make, dataset, tmp_path / "second", seed=1, epochs=4, resume_from=tmp_path / "first")
    whole, resumed = last(tmp_path / "whole"), last(tmp_path / "second")
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    assert not all(torch.equal(whole[name], value) for name, value in last(tmp_path / "first").items())


def _folds_into_a_student_of_its_own(model, name, dataset, folder) -> None:
    before = model.predict(histories())
    model.items.fold()
    save_student(folder, model, name, architecture(name), {"dataset_fingerprint": dataset.fingerprint})
    assert (load_student(folder, dataset).predict(histories()) - before).abs().max() <= 1e-5
