import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic.fields import FieldInfo

from src.core.errors import UserError
from src.core.paths import CONF_DIR, ROOT
from src.core.settings import Settings
from src.core.settings_reading import changed, read_settings, value_at, words_of
from src.distill.listwise_losses import LIST_LOSSES
from src.exp.program.config import compose_settings
from src.exp.program.settings import RunSettings
from src.student.choices import LOSSES, STUDENTS
from src.student.settings import LOSS_SETTINGS, MODEL_SETTINGS
from src.teacher.choices import ROUTERS
from src.teacher.settings import ROUTER_SETTINGS
from tests.exp.keys import CHOOSING, DEFAULT, composed, every_key, leaves, names_something, with_value

KEYS = every_key()
TEXTS = {"a text", "a path", "null or a text", "null or a path", "a name of letters, digits, '.', '-' and '_'"}
TEXTS |= {"null or a name of letters, digits and _", "null or a path or an address with ://, without a password"}


def words(option: str, key: str) -> str:
    return words_of(leaves(composed(option))[key])


def is_a_name(option: str, key: str) -> bool:
    return names_something(leaves(composed(option))[key])


def takes_any_text(option: str, key: str) -> bool:
    return words(option, key) in TEXTS and not is_a_name(option, key) and key not in CHOOSING


def faults(settings: RunSettings, changes: dict[str, Any]) -> str:
    with pytest.raises(UserError) as caught:
        changed(settings, changes)
    return str(caught.value)


def fault(settings: RunSettings, key: str, value: Any) -> str:
    with pytest.raises(UserError) as caught:
        with_value(settings, key, value)
    return str(caught.value)


# --- every key


@pytest.mark.parametrize(("option", "key"), [each for each in KEYS if words(*each) not in TEXTS])
def test_a_key_is_told_with_what_it_must_be_when_the_value_is_nonsense(option, key):
    said = fault(composed(option), key, "nonsense")
    assert said == f"The config is wrong: {key}=nonsense must be {words(option, key)}."


@pytest.mark.parametrize("key", sorted(CHOOSING | {key for option, key in KEYS if is_a_name(option, key)}))
def test_a_name_of_nothing_is_told_once_by_its_key_with_the_names_there_are(key):
    is_list = isinstance(value_at(composed(DEFAULT), key), list)
    said = faults(composed(DEFAULT), {key: ["nonsense"] if is_list else "nonsense"})
    assert said.startswith(f"The config is wrong: {key}=nonsense is not known: use one of ")
    assert said.count("nonsense") == 1
    assert "is not known (" not in said


@pytest.mark.parametrize(
    ("option", "key"), [each for each in KEYS if "null" not in words(*each) and each[1] not in CHOOSING]
)
def test_no_key_takes_null_that_does_not_say_so(option, key):
    assert fault(composed(option), key, None) == (f"The config is wrong: {key}=None must be {words(option, key)}.")


@pytest.mark.parametrize(("option", "key"), [each for each in KEYS if "null" in words(*each)])
def test_keys_that_say_so_take_null(option, key):
    assert value_at(with_value(composed(option), key, None), key) is None


def test_all_faults_are_told_at_once_in_the_order_of_the_types():
    """All but the names that choose a group: whose type is not known holds no keys that could be told."""
    keys = [key for option, key in KEYS if option == DEFAULT and not takes_any_text(option, key)]
    keys = [key for key in keys if key not in CHOOSING]
    said = faults(composed(DEFAULT), dict.fromkeys(reversed(keys), "nonsense"))
    assert re.findall(r"([\w.]+)=nonsense (?:must be|is not known)", said) == keys
    assert said.count("nonsense") == len(keys) > 100


@pytest.mark.parametrize("option", dict.fromkeys(option for option, _ in KEYS))
def test_no_number_list_or_switch_goes_unchecked(option):
    settings = composed(option)
    unchecked = [key for key in leaves(settings) if takes_any_text(option, key)]
    assert all(isinstance(value_at(settings, key), str | Path | None) for key in unchecked)


def test_settings_that_are_read_again_are_the_same_to_the_letter():
    differ = set()
    for option in dict.fromkeys(option for option, _ in KEYS):
        first, again = composed(option), changed(composed(option), {})
        differ |= {key for key in leaves(first) if repr(value_at(first, key)) != repr(value_at(again, key))}
    assert not differ


def test_what_a_value_must_be_is_said_without_names_of_types():
    assert not {words(*each) for each in KEYS if re.search("[a-z][A-Z]|Settings", words(*each))}


def test_missing_keys_are_told_with_those_that_are_wrong():
    tree = composed(DEFAULT).plain()
    del tree["dataset"]["reader"], tree["student"]["train"]["lr"], tree["paths"]["root"]
    tree["seed"] = -1
    with pytest.raises(UserError) as caught:
        read_settings(RunSettings, tree)
    assert str(caught.value) == (
        "The config is wrong: seed=-1 must be a whole number from 0 to 4294967295; "
        "dataset.reader is missing: it must be a text; student.train.lr is missing: it must be a number above 0; "
        "paths.root is missing: it must be a path."
    )


# --- values


NUMBER = "a whole number above 0"
RISING = "a rising list of whole numbers above 0"
BORDERS = {
    "seed": ("a whole number from 0 to 4294967295", [0, 2**32 - 1], [-1, 1.5, True, 2**32]),
    "student.train.lr": ("a number above 0", [1e-9, 1], [0, -0.1, True, float("nan"), float("inf")]),
    "student.model.dropout": ("a number from 0 to below 1", [0, 0.999], [1, -0.1]),
    "student.train.max_epochs": (NUMBER, [1], [0, 2.0, True]),
    "dataset.limit_data_rows": ("a whole number above 0, or -1 for all", [-1, 1], [0, -2]),
    "dataset.min_user_interactions": ("a whole number, 0 or above", [0], [-1]),
    "dataset.min_rating": ("null or a number", [None, -1, 3.5], ["3", True]),
    "dataset.files": (
        "a list of {name, sha256: [...]}",
        [[], [{"name": "a"}], [{"name": "a", "sha256": ["0"]}]],
        ["a", ["a"], [{"sha256": []}], [{"name": 1}], [{"name": "a", "sha": []}]],
    ),
    "student.train.weight_decay": ("a number, 0 or above", [0, 0.1], [-0.1, float("inf")]),
    "active.share": ("a number above 0, at most 1", [0.01, 1], [0, 1.01]),
    "metrics.filter_seen": ("true or false", [True, False], [0, "yes"]),
    "metrics.ks": ("a list of whole numbers above 0", [[1], [5, 10]], [[], [0], [1.5], [True], 10, ""]),
    "metrics.memory_mb": ("a number above 0", [0.5, 256], [0, -1, True]),
    "metrics.history_buckets": (RISING, [[3], [5, 10]], [[], [0], [5, 5], [10, 5], 5]),
    "teacher.student_weights": ("a list of numbers, each 0 or above", [[0], [0, 0.5]], [[], [-1], 1]),
    "teacher.prompt.max_tokens": (f"null or {NUMBER}", [None, 1], [0, 1.5]),
    "student.seed": ("null or a whole number from 0 to 4294967295", [None, 0], [-1, True]),
    "teacher.user_encoder.seed": ("null or a whole number from 0 to 4294967295", [None, 0], [-1, 2**32]),
    "teacher.llm.target_modules": (
        "names of layers, or all-linear", ["all-linear", ["query", "key"]], ["query", 1, [1], [], None],
    ),
    "compare.runs": (
        "a list of files, or of lists of files", [[], ["a"], ["a", ["b", "c"]]], ["a", [1], [[]], [["a", 1]]],
    ),
    "compare.metrics": ("a list of names", [["HR@1"]], [[], "HR@1", [1]]),
    "compare.names": ("null or a list of names", [None, ["a", "b"]], [[], "a"]),
    "compare.confidence": ("a number above 0 and below 1", [0.5, 0.999], [0, 1]),
    "compare.resamples": ("a whole number, 1000 or above", [1000], [999, 1000.0]),
    "curve.shares": ("a list of numbers above 0 and below 1", [[0.1]], [[], [0], [1], 0.1]),
    "curve.policies": ("a list of names", [["random"]], [[], "random"]),
    "curve.seeds": ("a list of whole numbers from 0 to 4294967295", [[0, 2**32 - 1]], [[], [-1], [2**32], 0]),
    "distill.score_direction": ("null, higher or lower", [None, "higher", "lower"], ["up"]),
    "student.train.precision": ("auto, 32-true or bf16-mixed", ["auto", "32-true", "bf16-mixed"], ["16", 32]),
    "teacher.llm.quantization": ("null or nf4", [None, "nf4"], ["int8"]),
    "paths.raw_dirs": ("a list of paths", [[], ["a", None]], ["a", [1]]),
}  # fmt: skip


@pytest.mark.parametrize("key", BORDERS)
def test_borders_by_hand(key):
    what, right, wrong = BORDERS[key]
    settings = composed("active=random")
    for value in right:
        with_value(settings, key, value)
    for value in wrong:
        assert fault(settings, key, value) == f"The config is wrong: {key}={value} must be {what}."


def test_keys_of_earlier_are_told_with_what_to_write_now():
    assert faults(composed(DEFAULT), {"metrics.batch_size": 4}) == (
        "The config is wrong: metrics.batch_size is not known any more: use metrics.memory_mb and metrics.max_rows."
    )


# --- what does not go together


def test_more_candidates_than_the_teacher_exports_are_refused():
    k = composed(DEFAULT).teacher.export.k
    changed(composed(DEFAULT), {"distill.candidate_topk": k})
    said = faults(composed(DEFAULT), {"distill.candidate_topk": k + 1})
    assert "distill.candidate_topk must not exceed teacher.export.k" in said


def test_an_architecture_that_cannot_be_built_is_refused():
    for student in ("student", "teacher.user_encoder"):
        heads = f"{student}.model.num_heads"
        said = faults(composed(DEFAULT), {heads: 3})
        assert f"{heads}=3 must divide {student}.model.hidden_size=128" in said
        for value in (0, None):
            said = faults(composed(DEFAULT), {heads: value})
            assert said == f"The config is wrong: {heads}={value} must be {NUMBER}."


def test_filters_higher_than_the_history_are_refused():
    caser, length, heights = composed("student=caser"), "student.model.history_length", "student.model.filter_heights"
    changed(caser, {length: 4})
    assert f"{heights}=[2, 3, 4] must not exceed {length}=3" in faults(caser, {length: 3})
    assert faults(caser, {length: 3, heights: []}) == (
        f"The config is wrong: {heights}=[] must be a list of whole numbers above 0."
    )


def test_sparse_items_need_a_sampled_loss():
    changed(composed("student/loss=sampled_softmax"), {"student.train.sparse_items": True})
    said = faults(composed(DEFAULT), {"student.train.sparse_items": True})
    assert "student.train.sparse_items=true needs a sampled loss" in said


def test_every_expert_needs_the_same_rank():
    said = faults(composed(DEFAULT), {"teacher.lora.r": 10})
    assert "teacher.lora.r=10 is not divisible by teacher.lora.num_experts=4" in said


def test_a_router_chooses_among_the_experts_there_are():
    said = faults(composed("teacher/router=top_k"), {"teacher.router.top_k": 5})
    assert "teacher.router.top_k=5 is more than teacher.lora.num_experts=4" in said


def test_a_split_by_time_leaves_something_to_train_on():
    shares = {"dataset.val_share": 0.5, "dataset.test_share": 0.5}
    changed(composed(DEFAULT), shares)
    said = faults(composed(DEFAULT), {**shares, "dataset.split": "global_time"})
    assert "dataset.val_share and dataset.test_share must be below 1 together" in said


def test_a_share_needs_a_policy_that_chooses():
    changed(composed(DEFAULT), {"active.policy": "random", "active.share": 0.5})
    said = faults(composed(DEFAULT, "active=all"), {"active.share": 0.5})
    assert "active.share=0.5 does not suit active.policy=all: use 1.0, or active.policy=random" in said


def test_ranking_distillation_needs_one_of_its_weights():
    gammas = {f"distill.gamma_{name}": 0 for name in ("position", "confidence", "consistency")}
    changed(composed(DEFAULT), {**gammas, "distill.lam": 0})
    said = faults(composed(DEFAULT), {**gammas, "distill.lam": 0.5})
    assert "distill.gamma_position, gamma_confidence and gamma_consistency must not all be 0" in said


@pytest.mark.parametrize(
    ("key", "value", "must"),
    [
        ("teacher.reading", "user", "example"),
        ("teacher.gate_input", "h_seq", "student"),
        ("teacher.export.user_states", True, "false"),
    ],
)
def test_a_teacher_that_writes_reads_in_its_own_way(key, value, must):
    writes = {"teacher.objective": "generation", "teacher.reading": "example"}
    changed(composed(DEFAULT), writes)
    said = faults(composed(DEFAULT), {**writes, key: value})
    assert said == f"The config is wrong: {key} must be {must} where teacher.objective=generation."


def test_what_does_not_go_together_is_told_with_the_rest():
    said = faults(composed(DEFAULT), {"student.model.num_heads": 3, "distill.candidate_topk": 21, "seed": -1})
    assert said.count(" must ") == 3


# --- every setting is read somewhere


def groups() -> Iterator[tuple[str, type[Settings]]]:
    """Every kind of group of a run, by the key it stands at."""

    def within(kind: type[Settings], at: str) -> Iterator[tuple[str, type[Settings]]]:
        yield at, kind
        for name, field in kind.model_fields.items():
            for inner in kinds_of(field):
                yield from within(inner, f"{at}.{name}".strip("."))

    yield from within(RunSettings, "")
    yield from (("student.model", kind) for kind in MODEL_SETTINGS.values())
    yield from (("student.loss", kind) for kind in LOSS_SETTINGS.values())
    yield from (("teacher.router", kind) for kind in ROUTER_SETTINGS.values())


def kinds_of(field: FieldInfo) -> list[type[Settings]]:
    among = [field.annotation, *getattr(field.annotation, "__args__", ())]
    return [kind for kind in among if isinstance(kind, type) and issubclass(kind, Settings)]


def names_read() -> set[str]:
    """Attributes that our code asks for; of modules of settings only what their functions ask for."""
    found = set()
    for file in (ROOT / "src").rglob("*.py"):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
        roots = functions if file.name == "settings.py" else [tree]
        found |= {node.attr for root in roots for node in ast.walk(root) if isinstance(node, ast.Attribute)}
    return found


def test_every_setting_is_read_somewhere():
    by_constructors = {"student.model", "student.loss", "teacher.router"}
    interpolated = set(re.findall(r"\$\{([\w.]+)\}", (CONF_DIR / "paths" / "default.yaml").read_text()))
    by_name = {f"distill.{name}" for name in LIST_LOSSES}
    elsewhere, read = interpolated | by_name, names_read()
    unread = [
        f"{at}.{name}".strip(".")
        for at, kind in groups()
        for name in kind.model_fields
        if name not in read and f"{at}.{name}".strip(".") not in elsewhere and at not in by_constructors
        and not at.startswith("teacher.user_encoder.")
    ]  # fmt: skip
    assert not unread


@pytest.mark.parametrize("name", MODEL_SETTINGS)
def test_students_take_the_settings_that_they_name(name):
    assert STUDENTS[name].Settings is MODEL_SETTINGS[name]
    assert set(parameters(STUDENTS[name])) - {"num_items"} == set(MODEL_SETTINGS[name].model_fields)


@pytest.mark.parametrize("name", LOSS_SETTINGS)
def test_losses_take_the_settings_that_they_name(name):
    assert LOSSES[name].Settings is LOSS_SETTINGS[name]
    assert set(parameters(LOSSES[name])) - {"item_counts", "dtype"} == set(LOSS_SETTINGS[name].model_fields) - {"name"}


@pytest.mark.parametrize("name", ROUTER_SETTINGS)
def test_routers_take_the_settings_that_they_name(name):
    assert ROUTERS[name].Settings is ROUTER_SETTINGS[name]
    assert set(parameters(ROUTERS[name])) - {"d_user", "num_experts"} == (
        set(ROUTER_SETTINGS[name].model_fields) - {"name"}
    )


def parameters(kind: type) -> list[str]:
    return list(inspect.signature(kind).parameters)


def test_every_shipped_name_has_its_settings():
    assert set(MODEL_SETTINGS) == set(STUDENTS)
    assert set(LOSS_SETTINGS) == set(LOSSES)
    assert set(ROUTER_SETTINGS) == set(ROUTERS)


def test_a_language_model_that_is_made_here_takes_no_path(tmp_path):
    with pytest.raises(
        UserError, match=r"teacher\.llm\.name=tiny-random is made here and has no files: set teacher\.llm"
    ):
        compose_settings("teacher/llm=tiny_random", f"teacher.llm.path={tmp_path}")


def test_an_address_of_a_log_with_a_password_is_refused_as_config_yaml_would_keep_it():
    address = "s3a://key:secret@bucket/log"
    must = "null or a path or an address with ://, without a password"
    said = fault(composed(DEFAULT), "reduce.log", address)
    assert said == f"The config is wrong: reduce.log={address} must be {must}."
