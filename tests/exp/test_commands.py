"""The whole road as a person goes it: commands, files and sentences. Small models, but real processes."""

import json
import re
import shutil
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from src.core.paths import CONF_DIR
from tests.exp.roads import raw_log, start_program

pytestmark = pytest.mark.slow

MODELS = ("popularity", "baseline", "teacher", "distilled")
EVALUATIONS = {f"evaluation: {name}" for name in MODELS} | {"comparison"}
TRAININGS = {
    "baseline: training", "teacher: training", "teacher: calibration", "teacher: export", "distilled: training",
}  # fmt: skip


def ok(done):
    assert done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def road(tmp_path_factory) -> Path:
    """A place in which run_all has run once, with its raw log in `raw` and its run in `run`."""
    folder = tmp_path_factory.mktemp("road")
    ok(start_program("run_all", raw_log(folder / "raw"), folder, folder / "run"))
    return folder


def metrics_of(run_dir: Path) -> dict[str, dict]:
    return {name: json.loads((run_dir / "metrics" / f"{name}.json").read_text()) for name in MODELS}


def table_of(run_dir: Path) -> list[list[str]]:
    """The table without its last column, which is a time."""
    return [line.split(" | ")[:-1] for line in (run_dir / "metrics" / "table.md").read_text().splitlines()]


def artefacts_of(folder: Path) -> dict[str, tuple[int, bytes]]:
    files = [
        file
        for name in ("processed_dir", "models_dir", "teacher_outputs_dir", "evaluations_dir")
        for file in sorted((folder / name).rglob("*"))
        if file.is_file()
    ]
    return {str(file.relative_to(folder)): (file.stat().st_mtime_ns, file.read_bytes()) for file in files}


# --- one command ---------------------------------------------------------------------------------------------------


def test_the_road_ends_in_a_table_of_every_model(road):
    header, _, *rows = table_of(road / "run")
    accuracy = ["HR@1", "HR@5", "NDCG@1", "NDCG@5", "Recall@1", "Recall@5", "MRR@1", "MRR@5"]
    assert header == ["| Model", *accuracy, "Cross-entropy", "Coverage@5", "ARP@5", "Parameters"]
    assert [row[0].removeprefix("| ") for row in rows] == [
        "Popularity",
        "Baseline (sasrec)",
        "Teacher (ilora, tiny-random)",
        "Distilled (sasrec)",
    ]


def test_metrics_come_with_every_users_rank(road):
    for figures in metrics_of(road / "run").values():
        assert len(figures["rank"]) == len(set(figures["example_id"])) == 12
        assert all(1 <= rank <= 15 for rank in figures["rank"])
        hits = sum(rank <= 5 for rank in figures["rank"]) / 12
        assert figures["metrics"]["HR@5"] == pytest.approx(hits)
    users = [figures["example_id"] for figures in metrics_of(road / "run").values()]
    assert all(these == users[0] for these in users)


def test_slices_and_comparison_stand_beside_the_table(road):
    slices = (road / "run" / "metrics" / "slices.md").read_text()
    assert "## By target popularity" in slices and "## By history length" in slices
    comparison = (road / "run" / "metrics" / "comparison.md").read_text()
    assert "Differences to Baseline (sasrec), 12 users" in comparison
    assert comparison.count("| Distilled (sasrec) |") == comparison.count("| Teacher (ilora, tiny-random) |") == 3


def test_the_run_tells_how_it_was_made(road):
    time = json.loads((road / "run" / "metrics" / "time.json").read_text())
    assert set(time["seconds"]) == {"prepare"} | TRAININGS | EVALUATIONS
    assert len(time["git"]["commit"]) == 40
    assert isinstance(time["git"]["dirty"], bool)
    config = OmegaConf.load(road / "run" / "config.yaml")
    assert (config.seed, config.student.model.hidden_size) == (0, 8)
    assert "${" not in (road / "run" / "config.yaml").read_text()
    for name in ("baseline", "teacher", "distilled"):
        assert (road / "run" / "checkpoints" / name / "last.ckpt").is_file()
        assert list((road / "run" / "tensorboard" / name).glob("events*"))
    assert "Written to" in (road / "run" / "run.log").read_text()


def test_the_teacher_was_asked_about_half_of_the_examples(road):
    (manifest,) = (road / "teacher_outputs_dir" / "movielens").glob("*/manifest.json")
    outputs = json.loads(manifest.read_text())
    (dataset,) = (road / "processed_dir" / "movielens").glob("*/manifest.json")
    examples = json.loads(dataset.read_text())["counts"]["train_examples"]
    assert outputs["num_examples"] == round(0.5 * examples)
    assert outputs["dataset_fingerprint"] == dataset.parent.name


def test_a_second_start_makes_nothing_again_and_imports_nothing_that_training_takes(road, monkeypatch):
    monkeypatch.setenv("PYTHONPROFILEIMPORTTIME", "1")
    before = artefacts_of(road)
    done = ok(start_program("run_all", road / "raw", road, road / "again"))
    assert artefacts_of(road) == before
    assert done.stderr.count("already there") == 5 + len(EVALUATIONS)
    assert not (road / "again" / "metrics" / "time.json").exists()
    assert table_of(road / "again") == table_of(road / "run")
    assert metrics_of(road / "again") == metrics_of(road / "run")
    imported = set(re.findall(r"^import time: .*\| +(\S+)$", done.stderr, re.MULTILINE))
    assert "src.exp.stages.report" in imported
    assert not imported & {"lightning", "transformers", "matplotlib", "mlflow"}  # the report reads tensors and titles


# --- four commands -------------------------------------------------------------------------------------------------


def test_four_commands_in_order_give_the_same_figures_somewhere_else(road, started, tmp_path):
    """Same seed, other place, another process: baseline, teacher and distilled student rank every user alike."""
    for command in ("run_student_baseline", "run_teacher", "run_distill", "run_eval_all"):
        status, _, told = started(command, road / "raw", tmp_path, f"hydra.run.dir={tmp_path / command}")
        assert status == 0, told
    assert table_of(tmp_path / "run_eval_all") == table_of(road / "run")
    first, second = metrics_of(road / "run"), metrics_of(tmp_path / "run_eval_all")
    assert all(first[name]["rank"] == second[name]["rank"] for name in MODELS)
    for command, name in (("run_teacher", "teacher"), ("run_distill", "distilled")):
        alone = json.loads((tmp_path / command / "metrics" / f"{name}.json").read_text())
        assert alone["rank"] == first[name]["rank"]
    assert "Distilled (sasrec)" in (tmp_path / "run_distill" / "metrics" / "comparison.md").read_text()
    outputs = [next((place / "teacher_outputs_dir").rglob("rankings.safetensors")) for place in (road, tmp_path)]
    assert outputs[0].read_bytes() == outputs[1].read_bytes()


def test_an_export_alone_asks_a_teacher_that_is_there_and_trains_none(road, started, refused, tmp_path):
    shutil.copytree(road, tmp_path / "road")
    status, _, told = started("run_export", road / "raw", tmp_path / "road", "active.share=1.0")
    assert status == 0, told
    folders = [path.parent for path in (tmp_path / "road" / "teacher_outputs_dir").rglob("manifest.json")]
    asked = sorted(json.loads((folder / "manifest.json").read_text())["num_examples"] for folder in folders)
    assert len(asked) == 2 and asked[0] == round(0.5 * asked[1])
    assert set(json.loads((tmp_path / "started" / "metrics" / "time.json").read_text())["seconds"]) == {
        "teacher: export"
    }
    status, told = refused("run_export", road / "raw", tmp_path / "nobody")
    assert status == 2 and "`poetry run python -m src.exp.run_teacher`" in told


def test_a_stage_out_of_order_names_the_command_that_comes_first(road, refused, tmp_path):
    status, told = refused("run_distill", road / "raw", tmp_path)
    assert status == 2
    assert "There is no teacher outputs" in told
    assert "`poetry run python -m src.exp.run_teacher`" in told


# --- in this process: starting Python costs most of a test's time ----------------------------------------------------


def test_a_dry_run_prints_the_plan_and_makes_nothing(started, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    data = raw_log(tmp_path / "raw")
    status, plan, _ = started("run_all", data, tmp_path / "made", "dry_run=true")
    assert status == 0
    lines = [line for line in plan.splitlines() if "to be made: not there" in line]
    assert len(lines) == 12 and lines[0].split()[0] == "prepare"
    assert all("not known yet" in line for line in lines)
    assert not (tmp_path / "made").exists()
    assert sorted(path.name for path in (tmp_path / "started").iterdir() if path.name != ".hydra") == [
        "config.yaml", "run.log",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "command",
    ["run_prepare", "run_student_baseline", "run_teacher", "run_export", "run_distill", "run_eval_all", "run_fetch",
     "run_search", "run_budget_curve", "inspect_batches"],
)  # fmt: skip
def test_every_command_has_a_plan(started, tmp_path, command):
    status, plan, _ = started(command, raw_log(tmp_path / "raw"), tmp_path / "made", "dry_run=true")
    assert status == 0
    assert "Plan: about 0 s" in plan and "prepare" in plan
    assert not (tmp_path / "made").exists()


def test_a_log_is_checked_before_it_is_prepared(started, tmp_path):
    data = raw_log(tmp_path / "raw")
    status, plan, _ = started("run_check", data, tmp_path / "made", "dry_run=true")
    assert status == 0 and "Would check movielens: " in plan
    assert not (tmp_path / "started" / "check.json").exists()
    status, printed, told = started("run_check", data, tmp_path / "made")
    assert status == 0, told
    assert "movielens: the log" in printed and "warning: There are 12 test examples" in told
    facts = json.loads((tmp_path / "started" / "check.json").read_text())
    assert facts["split"]["examples"]["test"] == 12
    assert "## Warnings\n\n- " in (tmp_path / "started" / "check.md").read_text()
    assert not (tmp_path / "made").exists()


def test_a_dry_run_fetches_nothing(started, tmp_path):
    elsewhere = [f"paths.root={tmp_path / 'root'}", "dataset.publisher=file:///nowhere.zip", "dry_run=true"]
    status, _, told = started("run_all", tmp_path / "empty", tmp_path / "made", *elsewhere)
    assert status == 2
    assert "The raw files of movielens are not there yet" in the_sentence(told)
    assert "src.exp.run_prepare dataset=movielens" in the_sentence(told)
    assert not (tmp_path / "root").exists()


def test_the_plan_of_a_road_that_was_gone_tells_what_is_there_and_how_long_the_rest_took(road, started, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    before = artefacts_of(road)
    status, plan, _ = started("run_all", road / "raw", road, "dry_run=true", "teacher.lora.r=4")
    assert (status, artefacts_of(road)) == (0, before)
    lines = [" ".join(line.split()) for line in plan.splitlines()]
    assert sum(line.endswith(" there") for line in lines) == 5  # dataset, baseline twice, two evaluations
    (teacher,) = [line for line in lines if line.startswith("teacher: training user encoder: training ")]
    assert re.search(r"teacher-ilora-[0-9a-f]{16} to be made: not there \d+ s$", teacher)


def test_another_student_is_distilled_from_the_same_teacher(road, started, tmp_path):
    shutil.copytree(road, tmp_path / "road")
    place_of = {path: path.stat().st_mtime_ns for path in (tmp_path / "road").glob("*_dir/movielens/*/manifest.json")}
    status, _, told = started("run_distill", road / "raw", tmp_path / "road", "student=gru4rec")
    assert status == 0, told
    assert [row[0].removeprefix("| ") for row in table_of(tmp_path / "started")[2:]] == [
        "Popularity", "Distilled (gru4rec)",
    ]  # fmt: skip
    assert not (tmp_path / "started" / "metrics" / "comparison.md").exists()  # for there is no baseline
    status, _, told = started("run_all", road / "raw", tmp_path / "road", "student=gru4rec")
    assert status == 0, told
    new = set((tmp_path / "road").glob("*_dir/movielens/*/manifest.json")) - place_of.keys()
    assert sorted(path.parent.name.rsplit("-", 1)[0] for path in new) == [
        "baseline", "baseline-gru4rec", "comparison", "distilled", "distilled-gru4rec",
    ]  # fmt: skip
    assert all(path.stat().st_mtime_ns == time for path, time in place_of.items())
    rows = table_of(tmp_path / "started")[2:]
    assert [row[0].removeprefix("| ") for row in rows][1:] == [
        "Baseline (gru4rec)", "Teacher (ilora, tiny-random)", "Distilled (gru4rec)",
    ]  # fmt: skip


def test_runs_are_compared_by_a_command_of_their_own(road, started, tmp_path):
    first, second = (road / "run" / "metrics" / f"{name}.json" for name in ("baseline", "distilled"))
    third = tmp_path / "of_another_seed.json"
    file = json.loads(second.read_text())
    third.write_text(json.dumps({**file, "training": {**file["training"], "seed": 1}}))
    runs = f"compare.runs=[{first},[{second},{third}]]"
    status, told, _ = started("run_compare", road, road, runs, "compare.names=[one,two]")
    assert status == 0 and "two" in told
    text = (tmp_path / "started" / "metrics" / "comparison.md").read_text()
    assert "## Differences to one, 12 users" in text and "± 0.0000" in text
    assert "| two | 2 student seeds, one teacher |" in text
    assert (tmp_path / "started" / "metrics" / "comparison.tex").is_file()


def test_a_comparison_goes_where_it_is_asked_to(road, started, tmp_path):
    files = [road / "run" / "metrics" / f"{name}.json" for name in ("baseline", "distilled")]
    runs = f"compare.runs=[{files[0]},{files[1]}]"
    assert started("run_compare", road, road, runs, f"compare.out={tmp_path / 'here'}")[0] == 0
    assert {path.name for path in (tmp_path / "here").iterdir()} == {
        "comparison.json", "comparison.md", "comparison.tex",
    }  # fmt: skip


@pytest.mark.parametrize("reading", ["example", "user"])
def test_what_the_teacher_reads_can_be_looked_at_before_anything_is_trained(started, tmp_path, reading):
    overrides = [f"teacher.reading={reading}", "inspect.examples=3"]
    status, told, _ = started("inspect_batches", raw_log(tmp_path / "raw"), tmp_path / "made", *overrides)
    assert status == 0
    assert told.count("[CLS]") == 3
    assert "Film No." in told and "⟨item " in told
    assert not (tmp_path / "made" / "models_dir").exists()


@pytest.mark.parametrize("rank_by", ["likelihood", "distance"])
def test_a_teacher_that_writes_titles_goes_the_whole_road(started, tmp_path, rank_by):
    data, metrics = raw_log(tmp_path / "raw"), tmp_path / "started" / "metrics"
    overrides = ["teacher=ilora_generation", "teacher/llm=tiny_random_causal", "teacher.generation.candidates=3"]
    overrides += [f"teacher.generation.rank_by={rank_by}", "teacher.prompt.title_tokens=6"]
    for command in ("run_student_baseline", "run_teacher", "run_distill", "run_eval_all"):
        status, _, told = started(command, data, tmp_path / "made", *overrides)
        assert status == 0, told
    answers = json.loads((metrics / "answers.json").read_text())
    assert 0 <= answers["of_all"] <= answers["valid_ratio"] <= 1
    assert answers["candidates"] == 3
    teacher = json.loads((metrics / "teacher.json").read_text())
    assert 0 <= teacher["metrics"]["NDCG@5"] <= 1


# --- bad input --------------------------------------------------------------------------------------------------------


@pytest.fixture
def refused(started):
    """Runs an entry point that must fail; returns its exit status and what it says."""

    def run(command: str, data_dir: Path, folder: Path, *overrides: str) -> tuple[int, str]:
        status, _, told = started(command, data_dir, folder, *overrides)
        assert status != 0
        return status, told

    return run


def the_sentence(told: str) -> str:
    (line,) = [line for line in told.splitlines() if line.startswith("error: ")]
    assert told.rstrip().endswith(line)
    return line


def test_missing_raw_files_are_named_with_where_to_put_them(refused, tmp_path):
    elsewhere = [f"paths.root={tmp_path / 'root'}", f"paths.prompts_dir={CONF_DIR / 'prompts'}"]
    status, told = refused("run_all", tmp_path / "empty", tmp_path, "dataset.publisher=null", *elsewhere)
    assert status == 2
    sentence = the_sentence(told)
    assert "ratings.dat, movies.dat are not to be found" in sentence
    assert str(tmp_path / "root" / "data" / "raw" / "ml-1m") in sentence
    assert "ANYO_DATA_DIR" in sentence


def test_an_unknown_dataset_is_told_with_those_there(refused, tmp_path):
    status, told = refused("run_all", tmp_path, tmp_path, "dataset=foo")
    assert status == 2
    assert "Could not find 'dataset/foo'" in told
    assert "ml_100k" in told


def test_unknown_keys_are_all_named_with_those_that_were_meant(refused, tmp_path):
    status, told = refused("run_all", tmp_path, tmp_path, "student.train.max_epoch=1", "sead=1", "seed=-1")
    assert status == 2
    assert the_sentence(told) == (
        "error: The config is wrong: seed=-1 must be a whole number from 0 to 4294967295; "
        "student.train.max_epoch is not known (did you mean student.train.max_epochs?); "
        "sead is not known (did you mean seed?)."
    )


def test_terms_that_look_at_all_items_are_refused_where_items_move_by_batch(refused, tmp_path):
    sparse = ["student/loss=sampled_softmax", "student.train.sparse_items=true", "distill=dllm2rec"]
    status, told = refused("run_all", tmp_path, tmp_path, *sparse)
    assert status == 2
    assert "sparse_items=true looks at the items of a batch alone, and these settings of dist" in the_sentence(told)


def test_wrong_values_are_all_told_at_once(refused, tmp_path):
    status, told = refused("run_all", tmp_path, tmp_path, "student.train.lr=0", "teacher.lora.dropout=1")
    assert status == 2
    assert "student.train.lr=0 must be a number above 0; teacher.lora.dropout=1 must be" in the_sentence(told)


@pytest.mark.parametrize(
    ("command", "override", "words"),
    [
        ("run_all", "teacher.lora.r=10", "teacher.lora.r=10 is not divisible"),
        ("run_all", "teacher.router.name=tree", "teacher.router.name=tree is not known"),
        ("run_all", "dataset.prompt=books", "dataset.prompt=books has no template"),
        ("run_all", "active.policy=mta", "active.policy=mta is not known"),
        ("run_all", "teacher.export.k=15", "teacher.export.k=15 asks for more items"),
        ("run_all", "metrics.ks=[99]", "metrics.ks=[99] asks for more items"),
        ("run_all", "metrics.memory_mb=0.001 seed=6", "metrics.memory_mb=0.001 is too little"),
        ("run_compare", "compare.runs=[a.json]", "compare.runs needs metrics files of at least two models"),
        ("run_compare", "compare.runs=[a.json,b.json]", "a.json, which is not there"),
        ("run_all", "distill.preset=modern", "distill.preset=modern must be corrected or paper"),
        ("run_all", "student.name=json:dumps", "student.name=json:dumps is no SequentialRecommender"),
        ("run_eval_all", "seed=7", "There is no trained student"),
        ("run_all", "student.name=bert", "student.name=bert is not known"),
        ("run_all", "student.train.resume_from=nowhere.ckpt seed=5", "nowhere.ckpt"),
        ("run_all", "teacher.llm.name=some teacher.llm.path=/nowhere", "/nowhere"),
        ("run_all", "dataset.reader=csv", "dataset.reader=csv is not known"),
        ("run_distill", "distill.teacher_outputs_path=/nowhere", "There is no teacher outputs at /nowhere"),
        ("run_teacher", "teacher.rec_model_checkpoint_path=/nowhere", "There is no trained student at /nowhere"),
    ],
)
def test_what_the_config_gets_wrong_is_one_sentence(road, refused, command, override, words):
    status, told = refused(command, road / "raw", road, *override.split(" "))
    assert status == 2
    assert words in the_sentence(told)


def test_teacher_outputs_of_another_dataset_are_refused(road, refused, tmp_path):
    (outputs,) = (road / "teacher_outputs_dir" / "movielens").glob("[!.]*")
    status, told = refused(
        "run_distill", raw_log(tmp_path / "raw", seed=1), tmp_path, f"distill.teacher_outputs_path={outputs}"
    )
    assert status == 2
    assert f"The teacher outputs in {outputs} were made for dataset" in the_sentence(told)


def test_a_student_of_another_dataset_is_refused(road, refused, tmp_path):
    (student,) = (road / "models_dir" / "movielens").glob("baseline-sasrec-*")
    status, told = refused(
        "run_teacher", raw_log(tmp_path / "raw", seed=1), tmp_path, f"teacher.rec_model_checkpoint_path={student}"
    )
    assert status == 2
    assert "was trained on dataset" in the_sentence(told)


def test_a_model_that_cannot_write_is_refused_before_it_is_trained(refused, tmp_path):
    cannot = ["teacher=ilora_generation", "teacher/llm=tiny_random"]
    status, told = refused("run_all", raw_log(tmp_path / "raw"), tmp_path / "made", *cannot)
    assert status == 2
    assert "does not write text" in told
    assert "baseline: training" not in told
