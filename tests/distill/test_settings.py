import pytest

from src.core.errors import UserError
from src.core.settings_reading import changed, read_settings
from src.distill.kd_losses import PRESETS
from src.distill.listwise_losses import LIST_LOSSES
from src.distill.settings import ActiveSettings, DistillSettings
from src.exp.program.config import compose_settings

DISTILL = read_settings(DistillSettings, {})


@pytest.mark.parametrize("name", ["combined", "kl", "rd", "soft_targets", "hint", "text_init", "embedding"])
def test_each_method_has_a_file_that_turns_dllm2rec_off(name):
    settings = compose_settings(f"distill={name}").distill
    assert settings.lam == 0 and (settings.ed_weight > 0) == (name == "embedding")
    on = {loss for loss in LIST_LOSSES if getattr(settings, loss).weight > 0}
    on |= {key for key in ("hint", "text_init") if getattr(settings, key) > 0}
    assert on == {"combined": {"text_init", "soft_targets"}, "embedding": set()}.get(name, {name})
    if name in LIST_LOSSES:
        assert getattr(settings, name).weight == 1
    others = set(DistillSettings.model_fields) - on - {"lam", "ed_weight", "candidate_topk"}
    assert all(getattr(settings, key) == getattr(DISTILL, key) for key in others)


def test_dllm2rec_is_shipped_with_its_published_weights_and_nothing_else():
    settings = compose_settings("distill=dllm2rec").distill
    assert PRESETS[settings.preset] is PRESETS["corrected"]
    assert settings.candidate_topk == 10 and settings.ed_weight == 0.3
    assert (settings.gamma_position, settings.gamma_confidence, settings.gamma_consistency) == (0.3, 0.5, 0.1)
    assert settings.teacher_outputs_path is None and settings.score_direction is None
    assert [getattr(settings, name).weight for name in LIST_LOSSES] == [0, 0, 0]
    assert (settings.hint, settings.text_init, settings.weighting) == (0, 0, "uniform")


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_can_be_chosen(name):
    assert changed(DISTILL, {"preset": name}).preset == name


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"preset": "papre"}, "preset=papre must be corrected or paper"),
        ({"candidate_topk": 0}, "candidate_topk=0 must be a whole number above 0"),
        ({"lam": -0.1}, "lam=-0.1 must be a number, 0 or above"),
        ({"beta": 0.0}, "beta=0.0 must be a number above 0"),
        ({"kl.temperature": 0.0}, "kl.temperature=0.0 must be a number above 0"),
        ({"rd.wieght": 1.0}, "rd.wieght is not known .*did you mean rd.weight"),
        ({"weighting": "mta"}, r"distill\.weighting=mta is not known: use one of uniform, kl_div.*, meta"),
        ({"score_direction": "up"}, "score_direction=up must be null, higher or lower"),
        (
            {"gamma_position": 0.0, "gamma_confidence": 0.0, "gamma_consistency": 0.0},
            "gamma_position, gamma_confidence and gamma_consistency must not all be 0 where lam=0.8",
        ),
    ],
)
def test_a_wrong_setting_is_named(change, words):
    with pytest.raises(UserError, match=words):
        changed(DISTILL, change)


def test_without_ranking_distillation_its_weights_may_all_be_zero():
    gammas = {"gamma_position": 0.0, "gamma_confidence": 0.0, "gamma_consistency": 0.0}
    assert changed(DISTILL, {**gammas, "lam": 0.0}).gamma_position == 0


@pytest.mark.parametrize(
    ("policy", "share", "words"),
    [
        ("random", 0.0, "share=0.0 must be a number above 0, at most 1"),
        ("random", 1.5, "share=1.5 must be a number above 0, at most 1"),
        ("meta", -1.0, "share=-1.0 must be a number above 0, at most 1"),
        ("all", 0.5, "share=0.5 does not suit policy=all: use 1.0, or policy=random"),
        ("mta", 0.5, r"active\.policy=mta is not known: use one of all, random, kl_divergence"),
        ("mta", 0.0, r"active\.policy=mta is not known: .*; share=0.0 must be"),
    ],
)
def test_a_selection_that_cannot_be_is_refused(policy, share, words):
    with pytest.raises(UserError, match=words):
        read_settings(ActiveSettings, {"policy": policy, "share": share})


def test_every_example_is_asked_about_where_the_config_is_silent():
    assert read_settings(ActiveSettings, {}) == ActiveSettings(policy="all", share=1.0)
