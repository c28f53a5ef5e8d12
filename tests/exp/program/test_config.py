from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from src.core.errors import UserError
from src.core.paths import CONF_DIR, ROOT
from src.core.settings_reading import value_at
from src.data.raw.layouts import LAYOUTS
from src.distill.choices import POLICIES
from src.distill.kd_losses import PRESETS
from src.distill.selection_policy import create_selection_policy
from src.exp.program.config import compose_settings, with_any_key
from src.exp.studies.search_space import read_space
from src.student.choices import STUDENTS
from src.student.factory import create_loss, create_student
from src.student.settings import LOSS_SETTINGS
from src.teacher.choices import ROUTERS
from src.teacher.gating import create_router
from src.teacher.prompts.templates import read_template
from tests.exp.keys import composed
from tests.worlds import tiny_dataset

# The group and the option that each file is, e.g. ("teacher/llm", "qwen").
OPTIONS = sorted(
    (path.parent.relative_to(CONF_DIR).as_posix(), path.stem)
    for path in CONF_DIR.rglob("*.yaml")
    if path.parent != CONF_DIR
)
SEARCHED = "search/space"  # ranges, not settings


def options_of(group: str) -> list[str]:
    return [option for of, option in OPTIONS if of == group]


def holds(there: Any, said: Any) -> bool:
    """Whether a composed config has what a file says, at the same places."""
    if isinstance(said, dict):
        return all(name in there and holds(there[name], inner) for name, inner in said.items())
    return "${" in str(said) or there == said


def test_every_group_has_options():
    assert {group for group, _ in OPTIONS} == {
        "active",
        "dataset",
        "ensemble",
        "distill",
        "experiment",
        "hydra",
        "logging",
        "metrics",
        "paths",
        "search/space",
        "student",
        "student/loss",
        "teacher",
        "teacher/llm",
        "teacher/router",
    }


# --- what is shipped is right, and known to the types


@pytest.mark.parametrize(("group", "option"), [each for each in OPTIONS if each[0] not in (SEARCHED, "hydra")])
def test_every_option_composes_to_settings_that_hold_what_it_says(group, option):
    there = composed(f"{group}={option}").plain()
    for name in group.split("/") if group != "experiment" else ():
        there = there[name]
    said = OmegaConf.to_container(OmegaConf.load(CONF_DIR / group / f"{option}.yaml"))
    assert holds(there, {name: value for name, value in said.items() if name != "defaults"})


@pytest.mark.parametrize("option", options_of("student"))
def test_every_student_may_be_the_user_encoder(option):
    encoder = composed(f"student@teacher.user_encoder={option}").teacher.user_encoder
    student = composed(f"student={option}", "student.text_init=0.05").student
    assert encoder.plain() == student.plain()  # it begins with the titles' encodings, as the shipped teacher says


@pytest.mark.parametrize("loss", options_of("student/loss"))
def test_every_loss_goes_with_the_student_and_the_user_encoder(loss):
    assert composed(f"student/loss={loss}").student.loss.name == loss
    assert composed(f"student/loss@teacher.user_encoder.loss={loss}").teacher.user_encoder.loss.name == loss


@pytest.mark.parametrize("option", options_of(SEARCHED))
def test_a_search_changes_keys_that_there_are(option):
    settings = composed(f"student={option}")
    for key in read_space(settings):
        value_at(settings, key)


@pytest.mark.parametrize("option", options_of("teacher/llm"))
def test_language_models_have_what_the_factory_reads(option):
    llm = composed(f"teacher/llm={option}").teacher.llm
    assert llm.path is None  # a path of one machine has no place in a shipped file
    assert llm.dtype in ("float32", "bfloat16")
    assert llm.target_modules == "all-linear" or isinstance(llm.target_modules, list)
    if llm.wheel is not None:
        assert llm.wheel.carries == llm.name
        assert "==" in llm.wheel.requirement
        (digest,) = (of for file, of in llm.wheel.sha256.items() if file.endswith((".safetensors", ".gguf")))
        assert len(digest) == 64


@pytest.mark.parametrize("option", options_of("dataset"))
def test_datasets_name_a_reader_and_a_template_that_exist(option):
    dataset = composed(f"dataset={option}").dataset
    assert dataset.name == option
    layout = LAYOUTS[dataset.reader]
    assert len(dataset.files) in ([0, 1, 2] if layout.by_columns else [layout.num_log_files + 1])
    assert read_template(CONF_DIR / "prompts", dataset.prompt, "ranking")


@pytest.mark.parametrize("option", options_of("student"))
def test_every_student_is_built_by_its_file(option):
    student = composed(f"student={option}").student
    assert isinstance(create_student(student.name, 5, student.model.plain()), STUDENTS[student.name])


def test_every_choice_by_name_has_a_file_that_builds_it():
    assert set(STUDENTS) <= set(options_of("student"))
    assert all(composed(f"student={name}").student.name == name for name in STUDENTS)
    counts = tiny_dataset().train_item_counts()[1:]
    assert sorted(LOSS_SETTINGS) == options_of("student/loss")
    for name in LOSS_SETTINGS:
        assert create_loss(composed(f"student/loss={name}").student.loss, counts, counts.float().dtype)
    assert sorted(ROUTERS) == options_of("teacher/router")
    for name in ROUTERS:
        assert isinstance(create_router(composed(f"teacher/router={name}").teacher.router, 8, 4), ROUTERS[name])
    for option in options_of("distill"):
        assert composed(f"distill={option}").distill.preset in PRESETS


@pytest.mark.parametrize("option", options_of("active"))
def test_selection_policies_are_built(option):
    settings = composed(f"active={option}").active
    assert type(create_selection_policy(settings)) is POLICIES[settings.policy]


def test_every_selection_policy_has_a_file():
    assert set(POLICIES) <= set(options_of("active"))


@pytest.mark.parametrize("option", options_of("experiment"))
def test_an_experiment_is_a_dataset_with_a_student_of_its_own_and_a_user_encoder_for_it(option):
    settings, dataset = composed(f"experiment={option}"), option.partition("_")[2]
    assert settings.dataset.name == dataset
    strongest = "sasrec" if dataset == "ml_100k" else f"sasrec_{dataset}"  # the default's settings are those for it
    assert settings.teacher.user_encoder == composed(f"student={strongest}", "student.text_init=0.05").student
    kind = option.partition("_")[0]
    of_its_own = strongest if kind in ("distil", "ensemble", "sasrec") else f"{kind}_{dataset}"
    assert settings.student == composed(f"student={of_its_own}").student


@pytest.mark.parametrize("option", [name for name in options_of("experiment") if name.startswith("distil_")])
def test_a_whole_recipe_reads_and_asks_everything(option):
    settings = composed(f"experiment={option}")
    assert (settings.teacher.train.max_examples, settings.active.share) == (-1, 1.0)
    assert settings.distill == composed("distill=combined").distill
    assert settings.controls


def test_the_members_of_an_ensemble_for_a_log_have_the_recipes_for_it():
    settings = composed("experiment=ensemble_amazon_toys")
    assert settings.controls and not settings.ensemble.language_model
    members = dict(settings.ensemble.members)
    assert settings.ensemble.likeness.member and settings.ensemble.among == "shortlist"
    assert set(members) == {"bsarec", "gru4rec", "caser"}
    for name, member in members.items():
        assert member == composed(f"student={name}_amazon_toys").student


def test_a_run_has_a_folder_of_its_own_named_by_time():
    hydra = OmegaConf.load(CONF_DIR / "hydra" / "default.yaml").hydra
    assert OmegaConf.to_container(hydra)["run"]["dir"] == "${new_folder:result/result_${now:%Y%m%d_%H%M%S}}"
    assert hydra.job.chdir is True


def test_the_root_of_the_config_is_the_project_s():
    paths = composed().paths
    assert paths.root == ROOT == CONF_DIR.parent
    assert (paths.models_dir, paths.prompts_dir) == (ROOT / "data" / "models", CONF_DIR / "prompts")


# --- what a user types


@pytest.mark.parametrize(
    ("typed", "given"),
    [
        ("seed=1", "++seed=1"),
        ("student.train.lr=0.1", "++student.train.lr=0.1"),
        ("compare.runs=[a=b,c]", "++compare.runs=[a=b,c]"),
        ("search.space={student:{}}", "++search.space={student:{}}"),
        ("unknown=1", "++unknown=1"),
        ("student=gru4rec", "student=gru4rec"),
        ("teacher/llm=qwen", "teacher/llm=qwen"),
        ("student@teacher.user_encoder=gru4rec", "student@teacher.user_encoder=gru4rec"),
        ("hydra.run.dir=/a/b", "hydra.run.dir=/a/b"),
        ("+seed=1", "++seed=1"),
        ("+student/loss=bce", "+student/loss=bce"),
        ("++seed=1", "++seed=1"),
        ("~distill", "~distill"),
        ("-m", "-m"),
        ("--cfg", "--cfg"),
        ("--config-dir=/a", "--config-dir=/a"),
        ("job", "job"),
    ],
)
def test_keys_that_stand_in_no_yaml_reach_the_types_and_the_rest_is_hydras(typed, given):
    assert with_any_key([typed]) == [given]


def test_a_key_that_stands_in_no_yaml_can_be_set():
    assert not (CONF_DIR / "curve").exists()
    assert compose_settings("curve.seeds=[0,1]").curve.seeds == [0, 1]


def test_unknown_keys_are_told_all_at_once_with_those_that_were_meant():
    with pytest.raises(UserError) as caught:
        compose_settings("student.train.learning_rate=1", "teacher.lora.rank=4", "sead=2", "student.model.dropout=2")
    said = str(caught.value)
    assert "sead is not known (did you mean seed?)" in said
    assert "student.train.learning_rate is not known" in said
    assert "teacher.lora.rank is not known" in said
    assert "student.model.dropout=2 must be a number from 0 to below 1" in said


def test_an_unknown_option_of_a_group_is_told_with_those_there_are():
    with pytest.raises(UserError, match=r"Could not find 'dataset/foo' Available options in 'dataset': .*ml_100k"):
        compose_settings("dataset=foo")


def test_paths_are_seen_from_where_the_program_was_started(tmp_path, monkeypatch):
    monkeypatch.setattr("src.core.paths._START_DIR", tmp_path)
    monkeypatch.chdir("/")
    settings = compose_settings(
        "paths.models_dir=models", "student.train.resume_from=a/last.ckpt", "distill.teacher_outputs_path=/b",
        "compare.runs=[c.json,[d.json]]",
    )  # fmt: skip
    assert settings.paths.models_dir == tmp_path / "models"
    assert settings.student.train.resume_from == tmp_path / "a" / "last.ckpt"
    assert settings.distill.teacher_outputs_path == Path("/b")
    assert settings.compare.runs == [tmp_path / "c.json", [tmp_path / "d.json"]]


def test_raw_logs_are_looked_up_in_the_folder_that_the_environment_names_first(monkeypatch, tmp_path):
    monkeypatch.setenv("ANYO_DATA_DIR", str(tmp_path))
    assert compose_settings().paths.raw_dirs == [tmp_path, ROOT / "data" / "raw"]
    monkeypatch.delenv("ANYO_DATA_DIR")
    assert compose_settings().paths.raw_dirs == [None, ROOT / "data" / "raw"]


# --- names are looked up before anything runs


def test_the_shipped_config_names_what_exists():
    compose_settings()


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("student.name=bert4rec", "student.name=bert4rec is not known"),
        ("student.loss.name=hinge", "student.loss.name=hinge is not known"),
        ("teacher.name=clora", "teacher.name=clora is not known"),
        ("teacher.router.name=tree", "teacher.router.name=tree is not known"),
        ("teacher.router.name=top_k", "teacher.router.top_k is missing: it must be a whole number above 0"),
        (
            "teacher/router=top_k teacher.router.top_k=5",
            "teacher.router.top_k=5 is more than teacher.lora.num_experts=4",
        ),
        ("dataset.reader=csv", "dataset.reader=csv is not known"),
        ("dataset.prompt=books", "dataset.prompt=books has no template"),
        ("dataset.prompt=books teacher=ilora_generation", "dataset.prompt=books has no template"),
        ("active.policy=oracle", "active.policy=oracle is not known"),
        ("active=all active.share=0.5", "active.share=0.5 does not suit active.policy=all"),
        ("curve.policies=[random,oracle]", "curve.policies=oracle is not known"),
        ("distill.preset=modern", "distill.preset=modern must be corrected or paper"),
        ("distill.weighting=heavy", "distill.weighting=heavy is not known"),
        ("teacher.lora.r=10", "teacher.lora.r=10 is not divisible by teacher.lora.num_experts=4"),
    ],
)
def test_a_wrong_name_is_told_before_anything_runs(override, told):
    with pytest.raises(UserError, match=told):
        compose_settings(*override.split())
