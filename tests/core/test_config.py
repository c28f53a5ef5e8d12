import re
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf

from src.core.config import CHECKS, CHECKS_WHERE_PRESENT, check_config
from src.core.errors import UserError
from src.core.paths import CONF_DIR

# Numbers that are looked at elsewhere, and where.
CHECKED_ELSEWHERE = {
    "dataset.val_share": "core/prepare.py, when dataset.split=global_time",
    "dataset.test_share": "core/prepare.py, when dataset.split=global_time",
}


def composed(*overrides: str) -> DictConfig:
    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        return compose("config", list(overrides))


def options(group: str) -> list[str]:
    return sorted(path.stem for path in (CONF_DIR / group).glob("*.yaml"))


def leaves(value: object, key: str = "") -> dict[str, object]:
    if not isinstance(value, dict):
        return {key: value}
    return {name: leaf for inner in value for name, leaf in leaves(value[inner], f"{key}.{inner}".strip(".")).items()}


@pytest.fixture(scope="module")
def default() -> DictConfig:
    return composed()


@pytest.fixture
def cfg(default) -> DictConfig:
    return default.copy()


def faults(cfg: DictConfig) -> str:
    with pytest.raises(UserError) as caught:
        check_config(cfg)
    return str(caught.value)


@pytest.mark.parametrize("student", options("student"))
def test_what_is_shipped_is_right(student):
    check_config(composed(f"student={student}"))


def test_every_check_finds_its_key(default):
    known = leaves(OmegaConf.to_container(default))
    lists = {key for key in CHECKS if isinstance(known.get(key), list)}
    assert set(CHECKS) - lists <= set(known)


def test_sparse_items_need_a_sampled_loss():
    check_config(composed("student.train.sparse_items=true", "student/loss=sampled_softmax"))
    with pytest.raises(UserError, match="sparse_items=true needs a sampled loss"):
        check_config(composed("student.train.sparse_items=true"))


def test_every_check_where_present_finds_its_key_in_some_option():
    groups = ("student", "student/loss", "teacher/router")
    choices = [f"{group}={option}" for group in groups for option in options(group)]
    keys = {key for choice in choices for key in leaves(OmegaConf.to_container(composed(choice)))}
    assert set(CHECKS_WHERE_PRESENT) <= keys


GROUPS = ["student", "student/loss", "dataset", "teacher/llm", "teacher/router", "distill", "active", "metrics"]


@pytest.mark.parametrize("group", [*GROUPS, "compare"])
def test_every_number_is_checked(group):
    for option in options(group):
        for key, value in leaves(OmegaConf.to_container(composed(f"{group}={option}"))).items():
            elsewhere = key.startswith(("hydra", "search.space."))  # the space is checked when it is read
            if isinstance(value, int | float) and not elsewhere:
                assert key in CHECKS.keys() | CHECKS_WHERE_PRESENT.keys() | CHECKED_ELSEWHERE.keys(), key


@pytest.mark.parametrize("key", CHECKS)
def test_every_check_names_its_key_when_the_value_is_nonsense(cfg, key):
    OmegaConf.update(cfg, key, "nonsense")
    said = faults(cfg)
    assert f"{key}=nonsense must be {CHECKS[key][1]}" in said
    assert said.count(" must ") == 1


@pytest.mark.parametrize(
    "key", CHECKS.keys() - {"distill.score_direction", "teacher.llm.quantization", "teacher.prompt.max_tokens"}
)
def test_no_check_takes_null(cfg, key):
    OmegaConf.update(cfg, key, None)
    assert f"{key}=None must be" in faults(cfg)


def test_all_faults_are_told_at_once(cfg):
    for key in CHECKS:
        OmegaConf.update(cfg, key, "nonsense")
    said = faults(cfg)
    assert re.findall(r"([\w.]+)=nonsense must be", said) == list(CHECKS)


BORDERS = {
    "seed": ([0, 2**32 - 1], [-1, 1.5, True, 2**32]),
    "student.train.lr": ([1e-9, 1], [0, -0.1, True, float("nan"), float("inf")]),
    "student.model.dropout": ([0, 0.999], [1, -0.1]),
    "student.train.max_epochs": ([1], [0, 2.0, True]),
    "dataset.limit_data_rows": ([-1, 1], [0, -2]),
    "dataset.min_user_interactions": ([0], [-1]),
    "student.train.weight_decay": ([0, 0.1], [-0.1, float("inf")]),
    "active.share": ([0.01, 1], [0, 1.01]),
    "metrics.filter_seen": ([True, False], [0, "yes"]),
    "metrics.ks": ([[1], [5, 10]], [[], [0], [1.5], [True], 10, ""]),
    "teacher.student_weights": ([[0], [0, 0.5]], [[], [-1], 1]),
    "compare.runs": ([[], ["a"], ["a", ["b", "c"]]], ["a", [1], [[]], [["a", 1]]]),
    "compare.metrics": ([["HR@1"]], [[], "HR@1", [1]]),
    "compare.confidence": ([0.5, 0.999], [0, 1]),
    "compare.resamples": ([1000], [999, 1000.0]),
    "metrics.memory_mb": ([0.5, 256], [0, -1, True]),
    "metrics.history_buckets": ([[3], [5, 10]], [[], [0], [5, 5], [10, 5], 5]),
    "teacher.prompt.max_tokens": ([None, 1], [0, 1.5]),
    "distill.score_direction": ([None, "higher", "lower"], ["up"]),
    "student.train.precision": (["auto", "32-true", "bf16-mixed"], ["16", 32]),
}


@pytest.mark.parametrize("key", BORDERS)
def test_borders_by_hand(cfg, key):
    right, wrong = BORDERS[key]
    for value in right:
        OmegaConf.update(cfg, key, value)
        check_config(cfg)
    for value in wrong:
        OmegaConf.update(cfg, key, value)
        assert f"{key}={value} must be" in faults(cfg)


def test_more_candidates_than_the_teacher_exports_are_refused(cfg):
    OmegaConf.update(cfg, "distill.candidate_topk", cfg.teacher.export.k)
    check_config(cfg)
    OmegaConf.update(cfg, "distill.candidate_topk", cfg.teacher.export.k + 1)
    assert "must not exceed teacher.export.k" in faults(cfg)


def test_an_architecture_that_cannot_be_built_is_refused(cfg):
    OmegaConf.update(cfg, "student.model.num_heads", 3)
    assert "student.model.num_heads=3 must divide student.model.hidden_size=64" in faults(cfg)
    OmegaConf.update(cfg, "student.model.num_heads", 0)
    for heads in (0, None):
        OmegaConf.update(cfg, "student.model.num_heads", heads)
        assert f"student.model.num_heads={heads} must be a whole number above 0" in faults(cfg)


def test_filters_higher_than_the_history_are_refused():
    cfg = composed("student=caser", "student.model.history_length=4")
    check_config(cfg)
    OmegaConf.update(cfg, "student.model.history_length", 3)
    assert "student.model.filter_heights=[2, 3, 4] must not exceed student.model.history_length=3" in faults(cfg)
    OmegaConf.update(cfg, "student.model.filter_heights", [])
    assert "student.model.filter_heights=[] must be a list of whole numbers above 0" in faults(cfg)


def test_what_does_not_go_together_is_told_with_the_rest(cfg):
    OmegaConf.update(cfg, "student.model.num_heads", 3)
    OmegaConf.update(cfg, "distill.candidate_topk", 21)
    OmegaConf.update(cfg, "seed", -1)
    assert faults(cfg).count(" must ") == 3


def test_the_root_of_the_config_is_the_project_s(default):
    assert Path(OmegaConf.to_container(default, resolve=True)["paths"]["root"]) == CONF_DIR.parent
