import pytest
from omegaconf import DictConfig, OmegaConf

from src.core.config import check_config
from src.core.paths import CONF_DIR
from src.core.raw_logs import LAYOUTS
from src.distill.kd_losses import preset_named
from src.distill.selection_policy import create_selection_policy
from src.student.factory import STUDENTS, create_student
from src.teacher.gating import ROUTERS, router_named
from src.teacher.prompt import read_template
from tests.exp.roads import compose_with

# The group and the option that each file is, e.g. ("teacher/llm", "qwen").
OPTIONS = sorted(
    (path.parent.relative_to(CONF_DIR).as_posix(), path.stem)
    for path in CONF_DIR.rglob("*.yaml")
    if path.parent != CONF_DIR
)


def options_of(group: str) -> list[str]:
    return [option for of, option in OPTIONS if of == group]


def test_every_group_has_options():
    assert {group for group, _ in OPTIONS} == {
        "active",
        "compare",
        "curve",
        "dataset",
        "distill",
        "experiment",
        "hydra",
        "inspect",
        "logging",
        "metrics",
        "paths",
        "search",
        "search/space",
        "student",
        "student/loss",
        "teacher",
        "teacher/llm",
        "teacher/router",
    }


@pytest.mark.parametrize(("group", "option"), OPTIONS)
def test_every_option_composes_to_a_valid_config(group, option):
    cfg = compose_with(f"{group}={option}")
    check_config(cfg)
    if group not in ("hydra", "experiment"):  # go to places of their own
        part = OmegaConf.select(cfg, group.replace("/", "."))
        written = OmegaConf.load(CONF_DIR / group / f"{option}.yaml")
        assert set(written) - {"defaults"} <= set(part)
        assert OmegaConf.to_container(OmegaConf.merge(part, plain(written))) == OmegaConf.to_container(part)
    OmegaConf.resolve(cfg)


def plain(written: DictConfig) -> dict:
    return {key: value for key, value in OmegaConf.to_container(written).items() if key != "defaults"}


@pytest.mark.parametrize("group", ["dataset", "teacher/llm", "active"])
def test_options_of_a_group_have_the_same_keys(group):
    keys = [set(OmegaConf.load(CONF_DIR / group / f"{option}.yaml")) for option in options_of(group)]
    assert all(these == keys[0] for these in keys)


@pytest.mark.parametrize("option", options_of("teacher/llm"))
def test_language_models_have_what_the_factory_reads(option):
    llm = OmegaConf.to_container(compose_with(f"teacher/llm={option}").teacher.llm)
    assert set(llm) == {
        "name", "path", "dtype", "quantization", "gradient_checkpointing", "pooling", "target_modules", "wheel",
    }  # fmt: skip
    assert isinstance(llm["name"], str)
    assert llm["path"] is None  # a path of one machine has no place in a shipped file
    assert llm["dtype"] in ("float32", "bfloat16")
    assert llm["target_modules"] == "all-linear" or isinstance(llm["target_modules"], list)
    if llm["wheel"] is not None:
        assert set(llm["wheel"]) == {"carries", "requirement", "folder", "sha256"}
        assert llm["wheel"]["carries"] == llm["name"]
        assert "==" in llm["wheel"]["requirement"]
        assert len(llm["wheel"]["sha256"]["model.safetensors"]) == 64


@pytest.mark.parametrize("option", options_of("dataset"))
def test_datasets_name_a_reader_and_a_template_that_exist(option):
    dataset = compose_with(f"dataset={option}").dataset
    assert dataset.name == option
    assert len(dataset.files) == LAYOUTS[dataset.reader].num_log_files + 1
    assert read_template(CONF_DIR / "prompts", dataset.prompt)


def test_every_student_has_a_file_that_builds_it():
    assert sorted(STUDENTS) == options_of("student")
    for option in options_of("student"):
        student = OmegaConf.to_container(compose_with(f"student={option}").student)
        assert isinstance(create_student(student["name"], 5, student["model"]), STUDENTS[option])


def test_choices_by_name_exist():
    assert sorted(ROUTERS) == options_of("teacher/router")
    for option in options_of("teacher/router"):
        router = OmegaConf.to_container(compose_with(f"teacher/router={option}").teacher.router)
        assert router_named(router.pop("name"))(8, 4, **router)
    for option in options_of("distill"):
        assert preset_named(compose_with(f"distill={option}").distill.preset)


@pytest.mark.parametrize("option", options_of("active"))
def test_selection_policies_are_built(option):
    active = compose_with(f"active={option}").active
    assert create_selection_policy(active.policy, active.share).name == option


def test_a_run_has_a_folder_of_its_own_named_by_time():
    hydra = OmegaConf.load(CONF_DIR / "hydra" / "default.yaml").hydra
    assert OmegaConf.to_container(hydra)["run"]["dir"] == "result/result_${now:%Y%m%d_%H%M%S}"
    assert hydra.job.chdir is True
