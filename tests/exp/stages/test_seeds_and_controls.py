"""Several student seeds in one run, and the controls that a gain is held against."""

import json

import pytest
import torch
from safetensors.torch import load_file

from src.core.artefact import read_manifest
from src.core.errors import UserError
from src.exp.stages.evaluations import every
from src.exp.stages.report import SUBJECTS, report
from src.exp.stages.road import Road
from tests.exp.roads import road_in
from tests.exp.stages.whole import whole
from tests.worlds import dataset_of, tiny_dataset, tiny_logs, tiny_titles

DATASET = tiny_dataset()
BOTH = ["student_seeds=2", "controls=true"]


def folders(road: Road) -> dict[str, list[str]]:
    return {each.label: each.folder.name for each in road.trainings()}


# --- names


def test_seeds_count_up_from_the_students_and_are_the_artefacts_of_runs_of_their_own(tmp_path):
    both = road_in(tmp_path, DATASET, "student.seed=4", "student_seeds=2")
    alone = [road_in(tmp_path, DATASET, f"student.seed={seed}") for seed in (4, 5)]
    assert [stage.seed for stage in (*both.baselines, *both.students)] == [4, 5, 4, 5]
    assert [each.folder for each in both.baselines] == [road.baseline.folder for road in alone]
    assert [each.folder for each in both.students] == [road.distilled.folder for road in alone]
    assert [each.label for each in both.students] == ["distilled: training", "distilled: training, seed 5"]
    assert [each.checkpoints for each in both.baselines] == ["baseline", "baseline_seed_5"]
    evaluations = [road.evaluations("distilled")[0][0] for road in alone]
    assert [each.folder for each in both.evaluations("distilled")[0]] == [each.folder for each in evaluations]


def test_after_the_largest_seed_comes_zero(tmp_path):
    road = road_in(tmp_path, DATASET, "student.seed=4294967295", "student_seeds=2")
    assert [each.seed for each in road.baselines] == [4294967295, 0]


def test_a_user_encoder_that_begins_with_the_titles_is_the_control_and_is_trained_once(tmp_path):
    road = road_in(tmp_path, DATASET, *BOTH, "teacher.user_encoder.text_init=0.05")
    assert road.titles_alone[0].folder == road.user_encoder.folder != road.baseline.folder
    assert road.titles_alone[0].inputs() == road.user_encoder.implied() == (road.encodings,)


@pytest.mark.parametrize(
    ("overrides", "titles", "self_distilled"),
    [
        (["controls=false"], 0, 0),
        ([], 2, 2),
        (["distill=text_init"], 2, 0),  # there are no rankings to take away
        (["distill=kl"], 0, 2),
        (["distill=dllm2rec"], 0, 2),
        (["distill=hint", "teacher.export.user_states=true"], 0, 0),
        (["student.text_init=0.05"], 0, 2),  # the baseline is that control
        # the distilled student begins with other vectors than the encodings of the items' texts
        (["teacher.export.item_embeddings=ranking"], 0, 2),
        (["distill.teacher_outputs_path=/outputs"], 0, 2),
        (["teacher=ilora_generation"], 0, 2),
    ],
)
def test_there_are_the_controls_that_say_something_of_this_distillation(tmp_path, overrides, titles, self_distilled):
    road = road_in(tmp_path, DATASET, *BOTH, *overrides)
    assert (len(road.titles_alone), len(road.self_distilled)) == (titles, self_distilled)


@pytest.mark.parametrize(
    ("overrides", "probed"),
    [
        (["controls=false"], 0),
        ([], 1),
        (["teacher=ilora_generation"], 0),  # it writes titles
        (["ensemble=unlike", "ensemble.language_model=false", "active=all", "active.share=1.0"], 0),
        (["ensemble=unlike"], 1),
    ],
)
def test_a_language_model_that_ranks_is_probed_with_the_controls(tmp_path, overrides, probed):
    road = road_in(tmp_path, DATASET, *BOTH, *overrides)
    assert len([each for each in road.trainings() if each is road.probe]) == probed


def test_a_student_that_would_begin_in_two_ways_is_refused(tmp_path):
    road = road_in(tmp_path, DATASET, "student.text_init=0.02")
    with pytest.raises(UserError, match=r"student.text_init=0.02 goes with distill.text_init=0.02 alone"):
        road.go(road.prepared, road.distilled)


# --- made


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("several")
    road = road_in(folder, DATASET, *BOTH)
    assert road.go(*whole(road))
    return folder


def road_of(folder, *overrides: str) -> Road:
    return road_in(folder, DATASET, *BOTH, *overrides)


@pytest.mark.slow
def test_encodings_are_made_with_whoever_begins_with_them(tmp_path):
    road = road_in(tmp_path, DATASET, "student.text_init=0.05")
    assert road.go(road.prepared, road.baseline)
    assert road.encodings.is_made()
    assert list(read_manifest(road.baseline.folder)["inputs"]) == ["item encoding"]
    assert road.encodings.load().shape == (DATASET.num_items, 32)


@pytest.mark.slow
def test_items_of_one_text_have_one_vector_where_vectors_are_read_from_texts(tmp_path):
    titles = tiny_titles()
    titles[6] = titles[2]
    road = road_in(tmp_path, dataset_of(tiny_logs(), titles), "student.item_vectors=texts")
    assert road.go(road.prepared, road.baseline)
    assert list(read_manifest(road.baseline.folder)["inputs"]) == ["item encoding"]
    table = road.baseline.load().item_table()
    torch.testing.assert_close(table[7], table[3], rtol=0, atol=1e-6)
    apart = (table[1:] - table[3]).abs().amax(1) > 1e-4
    assert apart.sum() == len(titles) - 2


def test_vectors_read_from_texts_are_not_distilled(tmp_path):
    road = road_in(tmp_path, DATASET, "student.item_vectors=texts")
    with pytest.raises(UserError, match=r"student.item_vectors=texts does not go with distillation"):
        road.distilled.check_settings()


@pytest.mark.slow
def test_encodings_are_those_that_the_teacher_exports(run_folder):
    road = road_of(run_folder)
    torch.testing.assert_close(road.encodings.load(), road.outputs.load().item_embeddings)


@pytest.mark.slow
def test_a_control_begins_as_the_distilled_student_does(run_folder):
    road = road_of(run_folder)
    assert road.titles_alone[0].student.text_init == road.run.settings.distill.text_init
    baseline, titles = (load_file(each.folder / "model.safetensors") for each in (road.baseline, road.titles_alone[0]))
    assert baseline.keys() == titles.keys()
    assert not torch.equal(baseline["items.ids.weight"], titles["items.ids.weight"])


@pytest.mark.slow
def test_self_distillation_takes_the_language_models_rankings_away_and_nothing_else(run_folder):
    road = road_of(run_folder)
    teacher, student = road.outputs.load(), road.self_outputs.load()
    assert torch.equal(teacher.item_embeddings, student.item_embeddings)
    assert torch.equal(teacher.row_of_example >= 0, student.row_of_example >= 0)
    assert teacher.candidates.shape == student.candidates.shape
    assert not torch.equal(teacher.candidates, student.candidates)
    model, train = road.user_encoder.load(), DATASET.examples["train"]
    asked = train.subset(student.row_of_example[train.example_id] >= 0)
    batch = DATASET.batch(asked, model.history_length, with_seen=True)
    scores = model.predict(batch.history)
    scores = torch.cat([scores[:, :1], scores], 1).scatter(1, batch.seen, -torch.inf)[:, 1:]
    assert torch.equal(student.candidates[:, 0], scores.argmax(1) + 1)
    assert road.self_distilled[0].settings.distill == road.distilled.settings.distill


@pytest.mark.slow
def test_figures_of_all_seeds_and_controls_are_reported_and_compared(run_folder, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")
    road = road_of(run_folder)
    evaluations = road.evaluations(*SUBJECTS)
    comparison = road.comparison(evaluations[1:])
    report(road.run, evaluations, comparison)
    files = {path.name for path in (run_folder / "metrics").glob("*.json")}
    subjects = ("baseline", "titles", "self_distilled", "distilled")
    assert files - {"time.json", "made_from.json"} == {
        "popularity.json", "teacher.json", "comparison.json",
        *(f"{subject}{seed}.json" for subject in subjects for seed in ("", "_seed_1")),
    }  # fmt: skip
    told = capsys.readouterr().out
    assert told.index("confidence intervals") < told.index("full ranking, means of 2 student seeds")
    assert "Self-distilled (sasrec) → Distilled (sasrec)" in told
    assert told.rstrip().splitlines()[-1].endswith("12 users).")
    ranks = [
        json.loads((run_folder / "metrics" / name).read_text())["rank"]
        for name in ("distilled.json", "distilled_seed_1.json")
    ]
    hits = [sum(rank <= 10 for rank in each) / len(each) for each in ranks]
    (mean,) = (m for m in comparison.load().means if (m.model, m.metric) == ("Distilled (sasrec)", "HR@10"))
    assert mean.mean == pytest.approx(sum(hits) / 2)
    assert mean.trainings == "2 student seeds, one teacher"
    assert {m.model: m.trainings for m in comparison.load().means}["Titles alone (sasrec)"] == (
        "2 student seeds, one item encoding"
    )


@pytest.mark.slow
def test_an_artefact_is_called_what_it_is_in_this_run_whatever_made_it(tmp_path):
    elsewhere = road_in(tmp_path, DATASET, "student.text_init=0.05")
    assert elsewhere.go(elsewhere.prepared, elsewhere.baseline)
    road = road_in(tmp_path, DATASET, "controls=true", "distill=text_init")
    evaluations = road.evaluations("baseline", "titles")
    assert road.titles_alone[0].folder == elsewhere.baseline.folder
    assert road.go(road.prepared, *road.baselines, *every(evaluations))
    report(road.run, evaluations)
    kept = json.loads((tmp_path / "metrics" / "made_from.json").read_text())["artefacts"]
    assert kept[road.baseline.folder.name]["stage"] == "baseline: training"
    assert kept[road.titles_alone[0].folder.name]["stage"] == "titles alone: training"


@pytest.mark.slow
def test_a_run_with_fewer_seeds_leaves_nothing_of_one_with_more(run_folder):
    road = road_in(run_folder, DATASET)
    evaluations = road.evaluations("popularity", "baseline")
    report(road.run, evaluations)
    assert {path.name for path in (run_folder / "metrics").glob("*.json")} - {"time.json", "made_from.json"} == {
        "popularity.json", "baseline.json",
    }  # fmt: skip
