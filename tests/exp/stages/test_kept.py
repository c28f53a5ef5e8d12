import json
import os
import shutil

import pytest

from src.core.errors import UserError
from src.exp.stages.evaluations import every
from src.exp.stages.kept import newest_run
from src.exp.stages.report import report
from src.report.stored import read_run
from tests.exp.stages.whole import whole


@pytest.mark.slow
def test_a_run_keeps_what_its_report_is_made_from(made):
    road = made()
    report(road.run, road.evaluations("popularity", "baseline", "teacher", "distilled"), whole(road)[-1])
    about = json.loads((road.run.dir / "metrics" / "made_from.json").read_text())
    assert about["dataset_folder"] == str(road.prepared.folder)
    assert about["history_buckets"] == [5, 10, 20, 50]
    by_stage = {each["stage"]: each for each in about["artefacts"].values()}
    assert list(by_stage) == ["baseline: training", "teacher: training", "teacher: calibration", "teacher: export",
                              "distilled: training"]  # fmt: skip
    assert by_stage["teacher: training"]["result"]["tokens_read"] > 0
    assert by_stage["teacher: export"]["tokens_read"] > 0 and by_stage["teacher: export"]["num_examples"] > 0
    for stage, epochs in (("baseline: training", 2), ("teacher: training", 1), ("distilled: training", 2)):
        assert len(by_stage[stage]["result"]["curve"]) == epochs
        assert by_stage[stage]["seconds"] > 0
    run = read_run(road.run.dir)
    assert {name: len(each.lists) for name, each in run.models.items()} == dict.fromkeys(run.models, 1)
    gates = run.models["teacher"].lists[0]["gates"]
    assert gates.shape == (12, 4) and gates.sum(1).tolist() == pytest.approx([1] * 12)
    assert "gates" not in run.models["distilled"].lists[0]


@pytest.mark.slow
def test_a_run_ends_with_its_report(made):
    road = made()
    report(road.run, road.evaluations("popularity", "baseline", "teacher", "distilled"), whole(road)[-1])
    assert '<p class="verdict">' in (road.run.dir / "report.html").read_text()
    assert "| Distilled (sasrec) |" in (road.run.dir / "report.md").read_text()


def a_run(folder, seconds: int):
    (folder / "metrics").mkdir(parents=True)
    (folder / "metrics" / "made_from.json").write_text("{}")
    os.utime(folder / "metrics" / "made_from.json", (seconds, seconds))
    return folder


def test_the_newest_run_is_the_last_that_ranked_models_beside_this_one(tmp_path):
    a_run(tmp_path / "result_20260101_000000_2", 300)
    newest = a_run(tmp_path / "result_20260101_000000_10", 400)
    own = a_run(tmp_path / "result_20260301_000000", 500)
    (tmp_path / "result_20260201_000000").mkdir()  # which ranked nothing
    assert newest_run(own) == newest


def test_where_there_is_none_it_is_said(tmp_path):
    with pytest.raises(UserError, match=r"No folder in .* holds a run that ranked models: name one, report.runs="):
        newest_run(tmp_path / "result_1")


def kept(road, *subjects: str) -> list[dict]:
    report(road.run, road.evaluations("popularity", *subjects))
    return list(json.loads((road.run.dir / "metrics" / "made_from.json").read_text())["artefacts"].values())


def change(folder, **told) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(manifest | told))


@pytest.mark.slow
def test_nothing_is_told_of_a_teacher_behind_outputs_that_the_config_names(made, tmp_path):
    shutil.copytree(made().outputs.folder, tmp_path / "given")
    road = made(f"distill.teacher_outputs_path={tmp_path / 'given'}")
    assert road.teacher.is_made()  # of the same settings, but whose the outputs are nobody knows
    assert road.go(road.prepared, road.distilled, *every(road.evaluations("distilled")))
    assert [each["stage"] for each in kept(road, "distilled")] == ["teacher: export", "distilled: training"]


@pytest.mark.slow
def test_a_training_is_called_by_what_it_is_for_here_not_by_what_it_was_first_made_for(made):
    road = made()
    assert road.baseline.folder == road.user_encoder.folder
    change(road.baseline.folder, stage="user encoder: training")  # as run_teacher leaves it
    assert kept(road, "baseline", "teacher")[0]["stage"] == "baseline: training"
    assert kept(road, "teacher")[0]["stage"] == "user encoder: training"


@pytest.mark.slow
def test_seconds_are_those_of_all_starts_of_an_interrupted_making(made):
    road = made()
    curve = [{"step": 1, "seconds": 5000.0, "val/NDCG@10": 0.1}]
    change(road.teacher.folder, seconds_of_stage=3.0, result={"curve": curve})
    change(road.outputs.folder, seconds_of_stage=2.0, seconds=700.0)
    seconds = {each["stage"]: each["seconds"] for each in kept(road, "distilled")}
    assert seconds["teacher: training"] == 5000.0 and seconds["teacher: export"] == 700.0
