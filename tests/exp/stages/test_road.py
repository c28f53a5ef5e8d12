import logging
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from src.core.artefact import STUDENT, fingerprint, read_manifest, writing
from src.core.errors import UserError
from src.core.paths import CONF_DIR
from src.core.settings_reading import changed, value_at
from src.data.catalogue import Catalogue
from src.data.raw.log import RawLog, settings_that_count
from src.exp.program.run import Run
from src.exp.program.settings import LoggingSettings, PathSettings, RunSettings
from src.exp.stages.distilled import SelfDistilled
from src.exp.stages.evaluations import every
from src.exp.stages.report import SUBJECTS
from src.exp.stages.road import Road
from src.exp.stages.students import TitlesAlone
from src.exp.stages.teacher.teacher import Teacher
from src.teacher.item_texts.settings import EncoderSettings
from tests.exp.keys import DEFAULT, changes_no_result, composed, every_key, leaves, with_another_value, with_value
from tests.exp.roads import SMALL, road_in, run_in
from tests.exp.stages.whole import whole
from tests.sealing import seal
from tests.worlds import tiny_dataset

DATASET = tiny_dataset()

# --- what a setting changes

RANKED = {f"evaluation: {subject}" for subject in SUBJECTS} | {"comparison"}
TITLES = {"titles_alone", "evaluation: titles", "comparison"}
DISTILLED = {
    "distilled",
    "self_distilled",
    "evaluation: distilled",
    "evaluation: self_distilled",
    "comparison",
    "served",
}
OUTPUTS = {"outputs", "self_outputs"} | DISTILLED
CALIBRATION = {"calibration", "evaluation: teacher"} | OUTPUTS
TEACHER = {"teacher"} | CALIBRATION
USER_ENCODER = {"user_encoder"} | TEACHER
BASELINE = {"baseline", "evaluation: baseline", "comparison"}
STUDENTS = BASELINE | TITLES | DISTILLED
TRAINED = STUDENTS | USER_ENCODER
ENCODINGS = {"encodings"} | TITLES
NOTHING = set()

BELOW = {  # what keys below a group change, unless they are declared to change no result; the longest prefix counts
    "seed": TRAINED,
    "rerun": NOTHING,
    "controls": NOTHING,
    "dry_run": NOTHING,
    "dataset": ENCODINGS | TRAINED | RANKED,
    "student": STUDENTS,
    "student.item_vectors": BASELINE | DISTILLED | TITLES,
    "student.text_init": BASELINE | DISTILLED,  # the control begins as the distilled student does
    "teacher": TEACHER,
    "teacher.llm": ENCODINGS | TEACHER,
    "teacher.llm.target_modules": TEACHER,
    "teacher.prompt.text_tokens": ENCODINGS | TEACHER,
    "teacher.user_encoder": USER_ENCODER,
    "teacher.export": OUTPUTS,
    "teacher.api": NOTHING,  # of teacher.name=api alone: test_api_outputs.py
    "encoder": ENCODINGS,
    "ensemble": OUTPUTS | {"evaluation: ensemble"},
    "active": OUTPUTS,
    "distill": DISTILLED,
    "distill.text_init": DISTILLED | TITLES,
    "metrics": RANKED,
    "metrics.filter_seen": TRAINED | RANKED,
    "metrics.ks": RANKED | {"served"},
    "compare": {"comparison"},
    "compare.runs": NOTHING,
    "compare.names": NOTHING,
    "compare.baseline": NOTHING,
    "probe": NOTHING,
    "trainer": NOTHING,
    "report": NOTHING,
    "curve": NOTHING,
    "cold_start": NOTHING,
    "search": NOTHING,
    "serve": NOTHING,
    "serve.new_items": {"served"},  # without it the two others say nothing
    "serve.search": {"served"},
    "serve.student": {"served"},
    "recommend": NOTHING,
    "server": NOTHING,
    "inspect": NOTHING,
    "export": NOTHING,
    "convert": NOTHING,
    "reduce": NOTHING,
    "paths": NOTHING,
    "logging": NOTHING,
}
PAYING = (  # where an endpoint is, who pays it, and how it is asked
    "base_url", "key_variable", "answer_tokens_field", "max_refused", "attempts", "timeout", "concurrency", "answers",
    "max_tokens_total", "max_cost", "price_prompt", "price_completion", "characters_per_token", "evaluate",
)  # fmt: skip
NO_RESULT = {  # where things lie, how fast they are made and how much memory that takes, how many trainings there are
    "student_seeds",
    "controls",
    *(f"dataset.{name}" for name in ("name", "raw_dir", "files", "publisher", "wheel", "prompt")),
    "dataset.rows_at_once",
    "dataset.interactions",
    "dataset.items",
    "student.seed",
    "teacher.user_encoder.seed",
    "student.train.resume_from",
    "teacher.user_encoder.train.resume_from",
    "teacher.train.resume_from",
    "teacher.rec_model_checkpoint_path",
    "teacher.llm.gradient_checkpointing",
    "teacher.llm.path",
    "teacher.llm.wheel",
    "teacher.eval_tokens",
    "teacher.export.lost_after",
    "teacher.student_weights",
    *(f"teacher.api.{name}" for name in PAYING),
    "distill.teacher_outputs_path",
    "metrics.memory_mb",
    "metrics.max_rows",
    "compare.out",
    "report.runs",
    "report.price_per_million_tokens",
    "search.storage",
    "trainer.devices",
    "trainer.shard",
    *(f"logging.{name}" for name in LoggingSettings.model_fields),
    *(f"paths.{name}" for name in PathSettings.model_fields),
}
BY_CONTENTS = {  # what they name is read, and its contents count
    "dataset.prompt": TEACHER,
    "teacher.llm.path": ENCODINGS | TEACHER,
    "teacher.rec_model_checkpoint_path": USER_ENCODER,
    "distill.teacher_outputs_path": OUTPUTS,
}
BY_TRAINING_SEED = {  # null and the run's own are one seed: that seed counts
    "student.seed": STUDENTS,
    "teacher.user_encoder.seed": USER_ENCODER,
}
TOLD = {  # no rank depends on them, but the time that is told beside the ranks does
    "metrics.memory_mb": RANKED,
    "metrics.max_rows": RANKED,
    "teacher.eval_tokens": {"evaluation: teacher", "comparison"},
}
COMPARED = {"student_seeds": {"comparison"}}  # each training has its seed in a key of its own
CHOSEN_AFTERWARDS = {"teacher.student_weights": CALIBRATION}  # by validation, in a stage of its own

GRU4REC = {"hidden_size": 8, "history_length": 8, "num_layers": 1, "dropout": 0.1}
WHEEL = {"carries": "a", "requirement": "b==1", "folder": "c", "sha256": {}}
SAMPLED = {"name": "bce", "num_negatives": 1, "shared": False}
MEMBER = {
    "name": "gru4rec",
    "model": GRU4REC,
    "loss": {"name": "bce", **SAMPLED},
    "train": {"lr": 0.1, "max_epochs": 1},
}
TOGETHER = {"ensemble.members": {"one": MEMBER}, "active": {"policy": "all", "share": 1.0}}
FIRST = {  # what must be so before a key can be another
    "dataset.val_share": {"dataset.split": "global_time"},
    "dataset.test_share": {"dataset.split": "global_time"},
    "dataset.session_gap_minutes": {"dataset.split": "sessions"},
    "dataset.items": {"dataset.interactions": "log.csv"},
    "student.train.sparse_items": {"student.loss": SAMPLED},
    "teacher.user_encoder.train.sparse_items": {"teacher.user_encoder.loss": SAMPLED},
    "teacher.objective": {"teacher.reading": "example"},
    "export.teacher": {"export.layout": "dllm2rec"},
    "ensemble.language_model": TOGETHER,
    "ensemble.among": TOGETHER,
    "ensemble.likeness.member": TOGETHER,
    "ensemble.likeness.decay": {**TOGETHER, "ensemble.likeness.member": True},
    "ensemble.likeness.whitening": {**TOGETHER, "ensemble.likeness.member": True},
    "ensemble.max_examples": TOGETHER,
    **{f"encoder.{key}": {"encoder.epochs": 2} for key in leaves(EncoderSettings()) if key != "epochs"},
    "teacher.llm.path": {"teacher.llm.name": "some"},  # one that has files
    "teacher.api.max_cost": {"teacher.api.price_prompt": 1.0},
}
BY_HAND = {  # other values that no type tells; {} is a folder
    "student.name": {"student.name": "gru4rec", "student.model": GRU4REC},
    "teacher.user_encoder.name": {"teacher.user_encoder.name": "gru4rec", "teacher.user_encoder.model": GRU4REC},
    "student.loss.name": {"student.loss": SAMPLED},
    "teacher.user_encoder.loss.name": {"teacher.user_encoder.loss": SAMPLED},
    "teacher.router.name": {"teacher.router.name": "mlp"},
    "teacher.llm.wheel": {"teacher.llm.wheel": WHEEL},
    "teacher.api.base_url": {"teacher.api.base_url": "https://other/v1"},
    "ensemble.members": {"ensemble.members": {"one": MEMBER}},
    "dataset.prompt": {"dataset.prompt": "toys"},
    "dataset.separator": {"dataset.separator": ";"},
    "teacher.llm.path": {"teacher.llm.path": "{}/given"},
    "teacher.rec_model_checkpoint_path": {"teacher.rec_model_checkpoint_path": "{}/given"},
    "distill.teacher_outputs_path": {"distill.teacher_outputs_path": "{}/given"},
    "paths.prompts_dir": {"paths.prompts_dir": "{}/prompts"},
    "search.storage": {"search.storage": "sqlite:///{}/trials.db"},
    "server.events": {"server.events": "sqlite:///{}/events.db"},
    "serve.new_items": {"serve.new_items": "{}/items.csv"},
    "logging.mlflow_uri": {"logging.mlflow_uri": "sqlite:///{}/mlflow.db"},
}


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    folder = tmp_path_factory.mktemp("keys")
    (folder / "given").mkdir()
    (folder / "items.csv").touch()
    (folder / "given" / "weights").write_text("1")
    shutil.copytree(CONF_DIR / "prompts", folder / "prompts")
    return run_in(folder)


def names(run: Run, settings: RunSettings) -> dict[str, str]:
    """The name of every stage's folder, controls among them; no artefact is there."""
    road = Road(replace(run, settings=with_value(settings, "controls", True)))
    road.prepared.raw = RawLog([], {}, fingerprint(settings_that_count(settings.dataset)))
    trained = (
        "encodings",
        "baseline",
        "user_encoder",
        "teacher",
        "calibration",
        "outputs",
        "self_outputs",
        "distilled",
        "served",
    )
    stages = {name: stage for name in trained if (stage := getattr(road, name)) is not None}
    stages["titles_alone"] = TitlesAlone(road.run, road.prepared, road.encodings)
    if "self_outputs" in stages:
        stages["self_distilled"] = SelfDistilled(road.run, road.prepared, stages["self_outputs"])
    popularity, *trained = road.evaluations(*SUBJECTS)
    for each in (*every([popularity, *trained]), road.comparison(trained)):
        stages.setdefault(each.title, each)  # the first of several trainings
    return {name: stage.folder.name for name, stage in stages.items()}


def another(run: Run, before: RunSettings, key: str) -> RunSettings:
    if key not in BY_HAND:
        return with_another_value(before, key)
    changes = {name: value.format(run.dir) if isinstance(value, str) else value for name, value in BY_HAND[key].items()}
    return changed(before, changes)


def expected(key: str, settings: RunSettings) -> set[str]:
    if key in (by_key := BY_CONTENTS | BY_TRAINING_SEED | TOLD | COMPARED | CHOSEN_AFTERWARDS):
        return by_key[key]
    parts = key.split(".")
    prefixes = [".".join(parts[:length]) for length in range(len(parts), 0, -1)]
    stages = BELOW[next(prefix for prefix in prefixes if prefix in BELOW)]
    return NOTHING if changes_no_result(leaves(settings)[key]) else stages


@pytest.mark.parametrize(("option", "key"), every_key())
def test_a_setting_changes_what_depends_on_it_and_nothing_else(run, option, key):
    before = changed(composed(*SMALL, option), FIRST[key]) if key in FIRST else composed(*SMALL, option)
    after = another(run, before, key)
    assert value_at(after, key) != value_at(before, key)
    old, new = names(run, before), names(run, after)
    changed_names = {name for name in old if name in new and old[name] != new[name]}  # a control may go
    assert changed_names == expected(key, before) & new.keys() & old.keys()


def test_only_these_settings_are_declared_to_change_no_result():
    for option in dict.fromkeys(option for option, _ in every_key()):
        declared = {key for key, field in leaves(composed(option)).items() if changes_no_result(field)}
        assert declared == NO_RESULT


def test_the_table_names_groups_and_keys_that_there_are():
    keys = leaves(composed(DEFAULT))
    for prefix in (*BELOW, *BY_CONTENTS, *BY_TRAINING_SEED, *FIRST, *BY_HAND):
        assert any(key == prefix or key.startswith(f"{prefix}.") for key in keys), prefix


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["teacher/llm=qwen"], ENCODINGS | TEACHER),
        (["teacher/router=mlp"], TEACHER),
        (["student=gru4rec"], STUDENTS),
        (["student@teacher.user_encoder=gru4rec", "teacher.user_encoder.model.hidden_size=8"], USER_ENCODER),
        (["active=meta"], OUTPUTS),
        (["distill=kl"], DISTILLED | {"titles_alone"}),
        (["dataset.limit_data_rows=10"], ENCODINGS | TRAINED | RANKED),
        (["dataset.split=given"], ENCODINGS | TRAINED | RANKED),
        (["dataset.val_share=0.2"], NOTHING),  # of split=global_time alone
        (["seed=1"], TRAINED),
        (["student.seed=1"], STUDENTS),
        (["student.seed=0", "teacher.user_encoder.seed=0"], NOTHING),  # the run's
        (["seed=1", "student.seed=0"], USER_ENCODER),
        (["seed=1", "teacher.user_encoder.seed=0"], STUDENTS | TEACHER),
    ],
)
def test_another_option_changes_what_its_keys_change(run, overrides, expected):
    old, new = names(run, composed(*SMALL)), names(run, composed(*SMALL, *overrides))
    assert {name for name in old if name in new and old[name] != new[name]} == expected & new.keys()


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("seed=1", {"baseline", "teacher", "distilled"}),
        ("student.seed=1", {"baseline", "distilled"}),
        ("metrics.filter_seen=true", {"baseline", "teacher", "distilled"}),
    ],
)
def test_what_is_trained_has_seed_and_validation_in_a_key_of_its_own(run, override, expected):
    """Not only through what it reads: with that given, too."""
    keys = ("teacher.rec_model_checkpoint_path", "distill.teacher_outputs_path")
    given = [f"{key}={run.dir / 'given'}" for key in keys]
    old, new = names(run, composed(*SMALL, *given)), names(run, composed(*SMALL, *given, override))
    changed_names = {name for name in old if old[name] != new[name]}
    assert expected == changed_names & {
        "baseline", "user_encoder", "teacher", "outputs", "distilled",
    }  # fmt: skip


def test_another_raw_log_changes_everything(tmp_path):
    before, after = (
        {stage.title: stage.folder for stage in whole(road_in(tmp_path, dataset))}
        for dataset in (DATASET, replace(DATASET, fingerprint="another"))
    )
    assert len(before) == 12
    assert all(before[title] != after[title] for title in before)


def test_where_things_lie_changes_no_name(tmp_path):
    here, there = (whole(road_in(tmp_path / name, DATASET)) for name in ("here", "there"))
    assert [stage.folder.relative_to(tmp_path / "here") for stage in here] == [
        stage.folder.relative_to(tmp_path / "there") for stage in there
    ]


def test_the_teacher_depends_on_the_text_of_its_template(tmp_path):
    first = road_in(tmp_path, DATASET).teacher.folder
    shutil.copytree(CONF_DIR / "prompts", tmp_path / "prompts")
    prompts = f"paths.prompts_dir={tmp_path / 'prompts'}"
    assert road_in(tmp_path, DATASET, prompts).teacher.folder == first
    (tmp_path / "prompts" / "movies.txt").write_text("another [HistoryHere]")
    assert road_in(tmp_path, DATASET, prompts).teacher.folder != first


# --- what is made of what


def train_otherwise(folder: Path) -> None:
    """Puts other weights into a student's artefact, as another machine's training would have."""
    weights = load_file(folder / "model.safetensors")
    about = {key: value for key, value in read_manifest(folder).items() if key != "files"}
    with writing(folder, STUDENT, about) as temporary:
        save_file({name: value + 0.01 for name, value in weights.items()}, temporary / "model.safetensors")


@pytest.mark.slow
def test_a_teacher_over_another_user_encoder_is_made_again_and_what_follows_from_it(made):
    train_otherwise(made().baseline.folder)
    road = made()
    assert road.teacher.why_to_make() == "made from another trained student"
    assert road.baseline.is_made()
    assert road.outputs.why_to_make() == "made from another trained student"  # and so is what was made of its teacher
    with pytest.raises(UserError, match=r"teacher outputs at .* was made from another trained student than the one"):
        road.distilled.ensure()
    assert road.go(*whole(road))
    assert set(road.run.stopwatch.seconds) == {
        "teacher: training", "teacher: calibration", "teacher: export", "distilled: training", "evaluation: baseline",
        "evaluation: teacher", "evaluation: distilled", "comparison",
    }  # fmt: skip
    assert all(stage.is_made() for stage in whole(made()))


@pytest.mark.slow
def test_where_everything_is_there_nothing_is_made(made, caplog):
    caplog.set_level(logging.INFO)
    road = made()
    assert road.go(*whole(road))
    assert road.run.stopwatch.seconds == {}
    assert caplog.text.count("already there: ") == 10  # baseline and user encoder are one


@pytest.mark.slow
def test_asked_for_again_every_artefact_is_made_once_more_though_it_is_two_stages(made):
    road = made("rerun=true")
    stages = [road.prepared, road.baseline, road.user_encoder, *every(road.evaluations("popularity", "baseline"))]
    assert road.go(*stages)
    assert set(road.run.stopwatch.seconds) == {"baseline: training", "evaluation: popularity", "evaluation: baseline"}


@pytest.mark.slow
def test_metrics_of_another_width_are_figured_over_the_same_models(made):
    road = made("metrics.ks=[2]")
    assert road.go(*whole(road))
    assert set(road.run.stopwatch.seconds) == {
        "evaluation: popularity", "evaluation: baseline", "evaluation: teacher", "evaluation: distilled", "comparison",
    }  # fmt: skip


# --- what makes a stage impossible is told first


def test_settings_are_looked_at_before_the_raw_log_is(tmp_path):
    road = Road(run_in(tmp_path, "student/loss=bce", "student.train.sparse_items=true", f"paths.raw_dirs=[{tmp_path}]"))
    with pytest.raises(UserError, match="looks at the items of a batch alone"):
        road.go(road.prepared, road.distilled)


def test_a_language_model_that_is_not_there_is_told_before_anything_is_trained(tmp_path):
    road = road_in(tmp_path, DATASET, "teacher.llm.name=some", f"teacher.llm.path={tmp_path / 'nowhere'}")
    with pytest.raises(UserError, match="nowhere"):
        road.go(*whole(road))
    assert not road.baseline.folder.exists()


def test_a_teacher_of_items_without_titles_is_told_before_anything_is_trained(tmp_path):
    road = road_in(tmp_path, DATASET)
    road.prepared.counts["untitled_items"] = 2
    with pytest.raises(UserError, match="2 of 15 items of tiny have no title, and a teacher reads titles"):
        road.go(road.prepared, road.baseline, road.teacher)
    assert not road.baseline.folder.exists()


def test_items_without_texts_are_not_encoded(tmp_path):
    catalogue = Catalogue(DATASET.catalogue.raw_ids, [""] * 15, [""] * 15)
    road = road_in(tmp_path, replace(DATASET, catalogue=catalogue))
    with pytest.raises(UserError, match="No item of tiny has a title, so there is nothing to encode"):
        road.go(road.prepared, road.encodings)


def test_what_is_wrong_is_told_in_a_dry_run_too(tmp_path):
    sparse = ["student/loss=bce", "student.train.sparse_items=true"]
    road = road_in(tmp_path, DATASET, "dry_run=true", *sparse)
    with pytest.raises(UserError, match="looks at the items of a batch alone"):
        road.go(*whole(road))


@pytest.mark.slow
def test_what_is_there_needs_nothing_that_making_it_took(made):
    """The language model may be gone once the teacher has exported."""
    road = made()
    road.teacher.check = lambda: pytest.fail("looked for the language model")
    assert road.go(*whole(road))


@pytest.mark.slow
def test_what_is_to_be_made_again_is_looked_at_like_what_is_not_there(made):
    def refuse() -> None:
        raise UserError("There is no language model.")

    road = made("rerun=true")
    road.teacher.check = refuse
    with pytest.raises(UserError, match="no language model"):
        road.go(*whole(road))
    assert road.run.stopwatch.seconds == {}


@pytest.mark.slow
def test_the_key_of_somebodys_teacher_outputs_is_of_the_files_as_they_are(made, tmp_path):
    shutil.copytree(made().outputs.folder, tmp_path / "mine")
    given = f"distill.teacher_outputs_path={tmp_path / 'mine'}"
    first = made(given).distilled.folder
    vectors = torch.load(tmp_path / "mine" / "all_embeddings.pt", weights_only=True)
    torch.save(-3 * vectors, tmp_path / "mine" / "all_embeddings.pt")
    assert made(given).distilled.folder != first


@pytest.mark.slow
def test_the_key_of_a_given_user_encoder_is_of_the_files_as_they_are(made, tmp_path):
    shutil.copytree(made().baseline.folder, tmp_path / "mine")
    given = f"teacher.rec_model_checkpoint_path={tmp_path / 'mine'}"
    first = made(given).teacher.folder
    weights = load_file(tmp_path / "mine" / "model.safetensors")
    save_file({name: value + 1 for name, value in weights.items()}, tmp_path / "mine" / "model.safetensors")
    assert made(given).teacher.folder != first


@pytest.mark.slow
def test_a_teacher_is_not_ranked_over_another_user_encoder_than_its_own(made):
    train_otherwise(made().baseline.folder)
    road = made("metrics.ks=[3]")
    with pytest.raises(UserError, match="was made from another trained student than the one that is there now"):
        road.go(road.prepared, *every(road.evaluations("teacher")))


@pytest.mark.slow
def test_a_teacher_is_not_read_over_other_files_of_its_language_model(made, monkeypatch):
    """Its folder was named when the run began, hours ago."""
    road = made("metrics.ks=[3]")
    assert road.teacher.is_made()
    monkeypatch.setattr(Teacher, "language_model", "fedcba9876543210")
    with pytest.raises(UserError, match=r"trained with other files of tiny-random than .*tiny-random instead of fedc"):
        road.teacher.load()


@pytest.mark.slow
def test_a_given_folder_that_changes_while_the_run_goes_on_is_refused(made, tmp_path):
    shutil.copytree(made().baseline.folder, tmp_path / "student")
    shutil.copytree(made().outputs.folder, tmp_path / "outputs")
    road = made(
        f"teacher.rec_model_checkpoint_path={tmp_path / 'student'}",
        f"distill.teacher_outputs_path={tmp_path / 'outputs'}",
    )
    for stage, name in (
        (road.user_encoder, "student/model.safetensors"),
        (road.outputs, "outputs/rankings.safetensors"),
    ):
        stage.load()
        assert stage.identity
        tensors = load_file(tmp_path / name)
        save_file({key: value.flip(0) for key, value in tensors.items()}, tmp_path / name)
        seal((tmp_path / name).parent)
        with pytest.raises(UserError, match=r"has changed since this run began: start the same command again"):
            stage.load()


@pytest.mark.slow
def test_a_checkpoint_of_another_seed_is_not_gone_on_from(made):
    road = made("seed=5")
    assert road.go(road.prepared, road.baseline)
    last = road.run.dir / "checkpoints" / "baseline" / "last.ckpt"
    other = made("seed=6", f"student.train.resume_from={last}")
    with pytest.raises(UserError, match=r"of another training \(artefact: baseline-.* instead of baseline-"):
        other.go(other.prepared, other.baseline)


@pytest.mark.slow
def test_a_checkpoint_of_a_baseline_is_no_distilled_students(made):
    road = made("seed=5")
    assert road.go(road.prepared, road.baseline)
    last = road.run.dir / "checkpoints" / "baseline" / "last.ckpt"
    other = made("distill.soft_targets.weight=0.1", f"student.train.resume_from={last}")
    with pytest.raises(UserError, match="of another training"):
        other.go(other.prepared, other.distilled)


@pytest.mark.slow
def test_every_stage_computes_deterministically(made):
    torch.use_deterministic_algorithms(False)
    road = made("metrics.ks=[3]")
    assert road.go(road.prepared, *every(road.evaluations("popularity")))
    assert torch.are_deterministic_algorithms_enabled()


def test_more_candidates_than_items_are_told_before_anything_trains(tmp_path):
    dataset = tiny_dataset()
    generation = ["teacher=ilora_generation", "teacher/llm=tiny_random_causal", "teacher.generation.candidates=16"]
    road = road_in(tmp_path, dataset, *generation)
    with pytest.raises(UserError, match=r"generation\.candidates=16 asks for more items than the catalogue's 15"):
        road.go(road.prepared, road.user_encoder, road.teacher)
    assert not road.user_encoder.folder.exists()
