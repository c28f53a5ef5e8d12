import json
from pathlib import Path

import pytest

from src.core.artefact import fingerprint, read_manifest
from src.core.errors import UserError
from src.evaluation.metrics_files import read_models
from src.evaluation.ranking import rows_at_once
from src.evaluation.settings import check_metrics
from src.exp.stages.evaluations import every
from tests.exp.roads import road_in, run_in
from tests.exp.stages.whole import whole
from tests.worlds import dataset_of, tiny_dataset

DATASET = tiny_dataset()


def popularity(folder: Path, *overrides: str) -> dict:
    """What the evaluation of popularity wrote."""
    ((stage,),) = road_in(folder, DATASET, *overrides).evaluations("popularity")
    stage.ensure()
    return json.loads((stage.folder / "metrics.json").read_text())


# --- what is written


@pytest.mark.parametrize("filter_seen", [False, True])
def test_popularity_ranks_by_training_counts(tmp_path, filter_seen):
    file = popularity(tmp_path, f"metrics.filter_seen={str(filter_seen).lower()}")
    logs = DATASET.item_log.split(DATASET.offsets.diff().tolist())
    counts = [0] * (DATASET.num_items + 1)
    for log in logs:
        for item in log[:-2].tolist():  # without validation and test target
            counts[item] += 1
    for log, rank in zip(logs, file["rank"], strict=True):
        *history, target = log.tolist()
        rivals = [
            item
            for item in range(1, DATASET.num_items + 1)
            if item != target and counts[item] >= counts[target] and not (filter_seen and item in history)
        ]
        assert rank == 1 + len(rivals)
    assert file["parameters"] == DATASET.num_items


def test_the_file_says_what_was_ranked_and_how(tmp_path):
    file = popularity(tmp_path, "metrics.filter_seen=true")
    assert file["model"] == "Popularity"
    assert (file["dataset_fingerprint"], file["num_items"]) == (DATASET.fingerprint, 15)
    assert (file["split"], file["filter_seen"]) == ("test", True)
    assert file["example_id"] == DATASET.examples["test"].example_id.tolist()


def test_every_figure_of_the_file_can_be_computed_again_from_its_ranks(tmp_path):
    file = popularity(tmp_path, "metrics.slice_k=3", "metrics.history_buckets=[2,4]")
    hits = [rank <= 3 for rank in file["rank"]]
    lengths = [len(log) - 1 for log in DATASET.item_log.split(DATASET.offsets.diff().tolist())]
    for name, belongs in {"1-2": lambda n: n <= 2, "3-4": lambda n: 3 <= n <= 4, "5+": lambda n: n >= 5}.items():
        here = [hit for hit, length in zip(hits, lengths, strict=True) if belongs(length)]
        figures = file["slices"]["history length"][name]
        assert (figures["n"], figures["HR@3"]) == (len(here), pytest.approx(sum(here) / len(here)))
    assert sum(figures["n"] for figures in file["slices"]["target popularity"].values()) == 12
    assert file["target"] == DATASET.item_log[DATASET.offsets[1:] - 1].tolist()


def test_an_evaluation_is_an_artefact_beside_others_of_its_dataset(tmp_path):
    ((stage,),) = road_in(tmp_path, DATASET).evaluations("popularity")
    assert stage.folder.parent == tmp_path / "evaluations_dir" / "tiny"
    assert stage.folder.name.startswith("popularity-")
    stage.ensure()
    about = read_manifest(stage.folder)
    assert (about["kind"], about["stage"], about["inputs"]) == ("evaluation", "evaluation: popularity", {})
    ((again,),) = road_in(tmp_path, DATASET).evaluations("popularity")
    assert again.is_made()
    assert again.row().name == "Popularity" and again.row().metrics == stage.figures["metrics"]


@pytest.mark.slow
def test_every_model_is_ranked_on_the_same_users_and_called_by_its_name(made):
    stages = every(made().evaluations("popularity", "baseline", "teacher", "distilled"))
    assert [stage.row().name for stage in stages] == [
        "Popularity", "Baseline (sasrec)", "Teacher (ilora, tiny-random)", "Distilled (sasrec)",
    ]  # fmt: skip
    assert all(stage.figures["example_id"] == stages[0].figures["example_id"] for stage in stages)
    assert len({stage.folder for stage in stages}) == 4
    about = read_manifest(stages[2].folder)
    assert list(about["inputs"]) == ["teacher: calibration"]
    assert about["precision"] == {"language_model": "32-true", "scores": "float32"}


@pytest.mark.slow
def test_seeds_of_the_student_are_compared_over_one_teacher(made):
    first, second = made(), made("student.seed=1")
    assert second.go(*whole(second))
    assert set(second.run.stopwatch.seconds) == {
        "baseline: training", "distilled: training", "evaluation: baseline", "evaluation: distilled", "comparison",
    }  # fmt: skip
    files = {
        subject: [road.evaluations(subject)[0][0].folder / "metrics.json" for road in (first, second)]
        for subject in ("popularity", "baseline", "teacher", "distilled")
    }
    assert files["teacher"][0] == files["teacher"][1]
    models = read_models([files["popularity"][0], files["baseline"], files["teacher"][0], files["distilled"]], None)
    assert [model.trainings for model in models.models] == [
        None, "2 student seeds", None, "2 student seeds, one teacher",
    ]  # fmt: skip
    told = [json.loads(files[subject][0].read_text())["training"] for subject in ("popularity", "baseline", "teacher")]
    user_encoder = first.user_encoder.content_digest
    settings = [fingerprint(road.all_counted()) for road in every(first.evaluations("baseline", "teacher"))]
    assert told == [
        None, {"of": "student", "seed": 0, "settings": settings[0], "from": {}},
        {"of": "teacher", "seed": 0, "settings": settings[1], "from": {"user encoder": user_encoder}},
    ]  # fmt: skip
    other = made(
        "seed=2", "teacher.train.max_epochs=2", "teacher.user_encoder.model.hidden_size=16", "active.share=1.0"
    )
    of = [fingerprint(road.evaluations("distilled")[0][0].all_counted()) for road in (first, second, other)]
    assert of[0] == of[1] != of[2]  # other settings of the teacher make no training of the same
    weights = [(road.distilled.folder / "model.safetensors").read_bytes() for road in (first, second)]
    assert weights[0] != weights[1]


# --- comparison


@pytest.mark.slow
def test_a_comparison_is_an_artefact_that_is_read_again(made):
    *_, comparison = whole(made())
    assert comparison.is_made()
    found = comparison.load()
    assert found.num_users == found.num_interactions == 12
    assert [mean.model for mean in found.means[:3]] == [
        "Baseline (sasrec)", "Teacher (ilora, tiny-random)", "Distilled (sasrec)",
    ]  # fmt: skip
    assert {difference.baseline for difference in found.differences} == {"Baseline (sasrec)"}
    assert sorted(path.name for path in comparison.folder.iterdir()) == [
        "comparison.json", "comparison.md", "comparison.tex", "manifest.json",
    ]  # fmt: skip


@pytest.mark.slow
def test_figures_that_changed_are_compared_again(made):
    *_, evaluation, comparison = whole(made())
    file = evaluation.folder / "metrics.json"
    file.write_text(file.read_text().replace("Distilled (sasrec)", "Renamed"))
    about = evaluation.folder / "manifest.json"
    about.write_text(json.dumps({**json.loads(about.read_text()), "files": {}}))
    *_, comparison = whole(made())
    assert comparison.why_to_make() == "made from another evaluation"
    comparison.ensure()
    assert comparison.load().means[2].model == "Renamed"


# --- what means nothing is refused


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("metrics.ks=[1,16]", r"metrics.ks=\[1, 16\] asks for more items than the catalogue's 15"),
        ("metrics.slice_k=16", "metrics.slice_k=16 asks for more items"),
        ("compare.metrics=[HR@1,NDCG@16]", r"compare.metrics=\['HR@1', 'NDCG@16'\] asks for more items"),
        ("compare.metrics=[MAP@1]", "The metric MAP@1 is not known"),
    ],
)
def test_metrics_that_mean_nothing_in_this_catalogue_are_refused_before_anything_is_trained(tmp_path, override, words):
    road = road_in(tmp_path, DATASET, override)
    with pytest.raises(UserError, match=words):
        check_metrics(road.run.settings.metrics, road.run.settings.compare, 15)
    with pytest.raises(UserError, match=words):
        road.go(*whole(road))
    assert not road.baseline.folder.exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("metrics.ks=[1,16]", r"metrics.ks=\[1, 16\] asks for more items than the catalogue's 15"),
        ("compare.metrics=[HR@1,NDCG@16]", r"compare.metrics=\['HR@1', 'NDCG@16'\] asks for more items"),
        ("compare.metrics=[MAP@1]", "The metric MAP@1 is not known"),
    ],
)
def test_metrics_that_mean_nothing_are_refused_where_all_else_is_there(made, override, words):
    road = made(override)
    with pytest.raises(UserError, match=words):
        road.go(*whole(road))


def test_models_that_are_not_there_are_named_with_their_command(tmp_path):
    for subject, what, command in (
        ("baseline", "trained student", "run_student_baseline"),
        ("teacher", "teacher's calibration", "run_teacher"),
        ("distilled", "distilled student", "run_distill"),
    ):
        ((stage,),) = road_in(tmp_path, DATASET).evaluations(subject)
        with pytest.raises(UserError, match=rf"no {what} at .*{command}"):
            stage.ensure()


# --- how many users are ranked at once

LOGS = [[1, 2, 3, 4], list(range(1, 101))]
WIDE = dataset_of(LOGS, [f"film {item}" for item in range(100)])


@pytest.mark.parametrize(
    ("overrides", "with_seen", "rows"),
    [
        (["metrics.memory_mb=1000", "metrics.max_rows=7"], False, 7),
        (["metrics.memory_mb=1"], False, 2**20 // (12 * 100 + 8192)),
        (["metrics.memory_mb=1"], True, 2**20 // (12 * 100 + 48 * 100 + 8192)),
    ],
)
def test_users_ranked_at_once_are_bounded_by_memory_and_by_number(tmp_path, overrides, with_seen, rows):
    metrics = run_in(tmp_path, "metrics.max_rows=10000", *overrides).settings.metrics
    assert rows_at_once(metrics, WIDE, with_seen) == rows


def test_a_memory_that_holds_no_user_is_refused(tmp_path):
    metrics = run_in(tmp_path, "metrics.memory_mb=0.001").settings.metrics
    with pytest.raises(UserError, match=r"metrics.memory_mb=0.001 is too little to rank one user among 100 items"):
        rows_at_once(metrics, WIDE, with_seen=False)
