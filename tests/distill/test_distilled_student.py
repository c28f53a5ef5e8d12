import dataclasses
from typing import Any

import pytest
import torch
from torch import Tensor

from src.core.errors import UserError
from src.core.paths import CONF_DIR
from src.core.settings_reading import changed, read_settings
from src.data.rows import TrainingWindows
from src.distill.choices import WEIGHTINGS
from src.distill.data_bridge import TeacherOutputs, load_teacher_outputs
from src.distill.distilled_student import check_negatives, distil_module
from src.distill.dros import propensity_scores
from src.distill.kd_losses import PRESETS, DROLoss, RankingDistillationLoss
from src.distill.listwise_losses import LIST_LOSSES, ListLoss
from src.distill.settings import DistillSettings
from src.distill.trainer_distill import DistilModule
from src.distill.weighting import DistillationBatch
from src.exp.program.config import compose_settings
from src.student.choices import STUDENTS
from src.student.layers.embedding import standardised
from src.student.losses import BCE
from tests.distill.outputs import D_TEACHER, K, ranking_of, write_outputs
from tests.student.students import NUM_ITEMS, D, L, shipped
from tests.worlds import tiny_dataset

DATASET = tiny_dataset()
SMALL = {"model.hidden_size": D, "model.history_length": L, "model.dropout": 0.0, "train.precision": "32-true"}
STUDENT = changed(shipped("gru4rec"), SMALL)
# Everything is on, so that every setting shows.
DISTILL = changed(
    read_settings(DistillSettings, {}),
    {"candidate_topk": K, "alpha": 0.7, "kl.weight": 0.2, "rd.weight": 0.3, "soft_targets.weight": 0.4, "hint": 0.5},
)
OF_DLLM2REC = {
    "preset": "paper",
    "lam": 0.5,
    "alpha": 0.4,
    "beta": 0.7,
    "ps_power": 0.3,
    "gamma_position": 0.9,
    "gamma_confidence": 0.1,
    "gamma_consistency": 0.6,
}
CHANGES = OF_DLLM2REC | {
    "candidate_topk": 2,
    "ed_weight": 0.8,
    "weighting": "kl_divergence",
    "kl": {"weight": 0.2, "temperature": 2.0},
    "rd": {"weight": 0.3, "temperature": 1.0},
    "soft_targets": {"weight": 0.4, "temperature": 2.0},
    "hint": 0.25,
    "text_init": 0.1,
}

DROS, RANKING = {"dros", "ranking_dros"}, {"ranking_bce", "ranking_dros"}
EXPECTED = {
    "preset": {"next_item", "hint", *LIST_LOSSES, *DROS, *RANKING},  # the item embeddings are others, too
    "text_init": {"next_item", "hint", *LIST_LOSSES, *DROS, *RANKING},
    "candidate_topk": {*LIST_LOSSES, *RANKING},
    "weighting": {"hint", *LIST_LOSSES, *RANKING},
    "lam": RANKING,
    **{key: DROS for key in ("alpha", "beta", "ps_power")},
    **{f"gamma_{part}": RANKING for part in ("position", "confidence", "consistency")},
    **{name: {name} for name in (*LIST_LOSSES, "hint")},
}


@pytest.fixture(scope="module")
def outputs(tmp_path_factory) -> TeacherOutputs:
    """The teacher was asked about every train example, and told what it thinks of the users."""
    asked = DATASET.examples["train"].example_id
    folder = tmp_path_factory.mktemp("teacher") / "outputs"
    write_outputs(folder, DATASET, asked, *ranking_of(len(asked), NUM_ITEMS))
    states = torch.randn(len(asked), 5, generator=torch.Generator().manual_seed(0)).half()
    return dataclasses.replace(load_teacher_outputs(folder, DATASET, None), user_states=states)


def made(outputs: TeacherOutputs, student=STUDENT, seed: int = 0, **change: Any) -> DistilModule:
    torch.manual_seed(0)
    return distil_module(student, changed(DISTILL, change), DATASET, outputs, seed)


def terms_of(module: DistilModule) -> dict[str, Tensor]:
    windows = TrainingWindows(DATASET, L)
    return module.loss_terms(windows[torch.arange(len(windows))])


def test_every_setting_is_changed_here():
    only_for_loading = {"teacher_outputs_path", "score_direction"}
    assert set(CHANGES) == set(DistillSettings.model_fields) - only_for_loading


@pytest.mark.parametrize("key", CHANGES)
def test_each_setting_changes_its_terms_and_no_others(outputs, key):
    modules = [made(outputs, **change) for change in ({}, {}, {key: CHANGES[key]})]
    before, again, after = ({name: term.float() for name, term in terms_of(module).items()} for module in modules)
    assert set(before) == set(after) == {"next_item", "hint", *LIST_LOSSES, *DROS, *RANKING}
    assert all(torch.equal(before[name], again[name]) for name in before)
    differ = {name for name in before if not torch.allclose(before[name], after[name], rtol=1e-4)}
    if key == "ed_weight":  # what is added begins as large whatever its weight is, but learns faster
        assert not differ
        sum(before.values()).backward(), sum(after.values()).backward()
        first, _, other = (module.model.items.projection.weight.grad for module in modules)
        assert torch.allclose(other * 0.3, first * 0.8, rtol=1e-3)
    else:
        assert differ and differ <= EXPECTED[key]


@pytest.mark.parametrize("change", [{}, *({key: value} for key, value in OF_DLLM2REC.items())], ids=str)
def test_dllm2rec_s_terms_are_those_of_the_settings(outputs, change):
    settings, module = changed(DISTILL, change), made(outputs, **change)
    preset, alpha, beta = PRESETS[settings.preset], settings.alpha, settings.beta
    propensity = propensity_scores(DATASET.train_item_counts()[1:], settings.ps_power)
    gammas = (settings.gamma_position, settings.gamma_confidence, settings.gamma_consistency)
    ranking = RankingDistillationLoss(
        preset=preset, propensity=propensity, lam=settings.lam, alpha=alpha, beta=beta, gammas=gammas
    )
    draw = torch.Generator().manual_seed(0)
    scores, order = torch.randn(6, NUM_ITEMS, generator=draw), torch.rand(6, NUM_ITEMS, generator=draw).argsort(1)
    batch = scores, order[:, :K], torch.rand(6, K, generator=draw).cumsum(1), order[:, K]
    assert module.ranking(*batch) == ranking(*batch)
    expected = DROLoss(preset=preset, propensity=propensity, alpha=alpha, beta=beta)(scores, order[:, 0])
    assert module.dros(scores, order[:, 0]) == expected


@pytest.mark.parametrize("option", sorted(path.stem for path in (CONF_DIR / "distill").glob("*.yaml")))
def test_every_shipped_config_can_be_learned_from(outputs, option):
    settings = changed(compose_settings(f"distill={option}").distill, {"candidate_topk": K})
    module = distil_module(STUDENT, settings, DATASET, outputs, seed=0)
    terms = terms_of(module)
    assert all(term.isfinite() for term in terms.values())
    sum(terms.values()).backward()
    assert module.model.items.ids.weight.grad.isfinite().all()


def test_no_more_of_the_teacher_s_items_are_used_than_asked_for(outputs):
    module = made(outputs, candidate_topk=2)
    assert torch.equal(module.candidates, outputs.candidates[:, :2])
    assert torch.equal(module.distance, outputs.distance[:, :2])
    with pytest.raises(UserError, match=r"hold 3 items per example, fewer than distill\.candidate_topk=4: lower it"):
        made(outputs, candidate_topk=4)


@pytest.mark.parametrize(("precision", "dtype"), [("32-true", torch.float32), ("bf16-mixed", torch.bfloat16)])
def test_list_losses_are_those_of_the_settings_in_the_student_s_precision(outputs, precision, dtype):
    module = made(outputs, student=changed(STUDENT, {"train.precision": precision}), **{"kl.weight": 0.0})
    assert module.list_losses == [ListLoss("rd", 0.3, 3.0, dtype), ListLoss("soft_targets", 0.4, 1.0, dtype)]
    assert module.loss.dtype == dtype


def test_item_vectors_hold_the_teacher_s_as_the_preset_has_them(outputs):
    raw = outputs.item_embeddings
    for preset, expected in (("paper", raw), ("corrected", standardised(raw))):
        items = made(outputs, preset=preset, ed_weight=0.4).model.items
        assert torch.equal(items.teacher_embeddings, expected) and items.ed_weight == 0.4
    assert made(outputs, ed_weight=0.0).model.items.projection is None


def test_item_vectors_begin_as_the_teacher_s_where_asked(outputs):
    plain, begun = (made(outputs, text_init=std).model.items.ids.weight[1:] for std in (0.0, 0.05))
    assert begun[:, :D_TEACHER].std().item() == pytest.approx(0.05)
    assert torch.equal(begun[:, D_TEACHER:], plain[:, D_TEACHER:])
    distances = [torch.cdist(each, each).flatten() for each in (begun[:, :D_TEACHER], outputs.item_embeddings)]
    ratio = (distances[0] / distances[1]).nan_to_num(0)
    assert torch.allclose(ratio[ratio > 0], ratio.max(), rtol=1e-3)  # the same shape, on another scale


def test_a_hint_is_of_the_teacher_s_representations_of_the_users(outputs):
    hint = made(outputs, hint=0.25).hint
    assert hint.weight == 0.25 and torch.equal(hint.user_states, outputs.user_states)
    assert (hint.projection.in_features, hint.projection.out_features) == (D, 5)
    assert made(outputs, hint=0.0).hint is None
    without = dataclasses.replace(outputs, user_states=None)
    assert made(without, hint=0.0).hint is None
    with pytest.raises(UserError, match=r"distill\.hint=0\.25 needs .*teacher\.export\.user_states=true"):
        made(without, hint=0.25)


def by_position(batch: DistillationBatch) -> Tensor:
    return torch.arange(len(batch.target)).float()


@pytest.mark.parametrize("name", [*WEIGHTINGS, f"{__name__}:by_position"])
def test_examples_are_weighted_as_named(outputs, name):
    assert made(outputs, weighting=name).weighting is WEIGHTINGS[name]


def test_the_student_and_its_training_are_those_of_the_settings(outputs):
    student = changed(STUDENT, {"loss": shipped("gru4rec", "bce").loss.plain(), "train.lr": 0.02})
    module = made(outputs, student=student, seed=7)
    assert type(module.model) is STUDENTS["gru4rec"]
    assert (module.model.num_items, module.model.history_length) == (NUM_ITEMS, L)
    assert type(module.loss) is BCE
    assert module.optimisation == student.train
    assert (module.seed, module.validation.length, module.validation.with_seen) == (7, L, False)
    assert torch.equal(module.validation.examples.example_id, DATASET.examples["val"].example_id)


@pytest.mark.parametrize("roomy", [{"lam": 0.0}, {"candidate_topk": 5}, {"history_length": 3}], ids=str)
def test_a_catalogue_without_room_for_negatives_is_refused_before_training(roomy):
    """15 items; the longest training history has 8."""
    student, distill = changed(STUDENT, {"model.history_length": 8}), changed(DISTILL, {"candidate_topk": 6})
    with pytest.raises(UserError, match=r"has 15 items, of which a history \(8\), its target and .* items \(6\)"):
        check_negatives(student, distill, DATASET)
    if "history_length" in roomy:
        check_negatives(changed(student, {"model.history_length": 3}), distill, DATASET)
    else:
        check_negatives(student, changed(distill, roomy), DATASET)


def test_a_rest_needs_probabilities(outputs):
    rest = {"soft_targets": {"weight": 0.4, "temperature": 1.0, "rest": True}}
    likely = dataclasses.replace(outputs, distance=torch.full_like(outputs.distance, 1.0))
    assert float((-likely.distance).exp().sum(1).max()) > 1
    with pytest.raises(UserError, match="rest=true needs log-probabilities over the whole catalogue"):
        made(likely, **rest)
    unlikely = dataclasses.replace(outputs, distance=torch.full_like(outputs.distance, 6.0))
    assert "soft_targets" in terms_of(made(unlikely, **rest))
