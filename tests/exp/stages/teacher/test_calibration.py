import json
import re

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from src.core.artefact import read_manifest
from src.core.precision import student_precision
from src.exp.stages.teacher.calibration import Calibration
from src.teacher.ensemble import calibration
from src.teacher.ensemble.calibration import Calibrated
from tests.exp.roads import road_in
from tests.exp.stages.whole import whole
from tests.worlds import tiny_dataset

DATASET = tiny_dataset()
WEIGHTS = ["0.0", "0.5", "1.0", "2.0"]
GENERATION = ["teacher=ilora_generation", "teacher/llm=tiny_random_causal", "teacher.generation.candidates=4"]


def test_weights_are_of_the_calibration_and_not_of_the_training(tmp_path):
    one, other = (road_in(tmp_path, DATASET, f"teacher.student_weights={weights}") for weights in ("[0]", "[0,3]"))
    assert one.teacher.folder == other.teacher.folder
    assert one.calibration.folder != other.calibration.folder
    assert one.outputs.folder != other.outputs.folder


def test_a_teacher_that_writes_titles_has_none(tmp_path):
    road = road_in(tmp_path, DATASET, *GENERATION)
    ((evaluation,),) = road.evaluations("teacher")
    assert road.outputs.inputs() == evaluation.inputs() == (road.teacher,)


@pytest.mark.slow
def test_what_was_chosen_and_why_stands_in_file_and_manifest(made):
    stage = made().calibration
    found, about = json.loads((stage.folder / "calibration.json").read_text()), read_manifest(stage.folder)
    assert about["result"] == found
    assert (about["kind"], list(about["inputs"])) == ("calibration", ["teacher: training"])
    assert list(found["by_student_weight"]) == WEIGHTS
    chosen = found["by_student_weight"][str(found["student_weight"])]
    assert chosen["behind"] <= chosen["behind_error"] and chosen["temperature"] == found["temperature"]
    for of in found["by_student_weight"].values():
        assert of["calibrated"] <= min(of["summed"], of["normalised"], found["uniform_cross_entropy"]) + 1e-3
    assert found["examples"] == 12


@pytest.mark.slow
@pytest.mark.parametrize("at_end", [True, False])
def test_a_temperature_at_the_end_of_those_looked_at_is_told(made, monkeypatch, caplog, at_end):
    found = {
        0.0: Calibrated(0.3, 0.1, 0.05, 2.0, 2.0, 2.0, 2.0, True),
        2.0: Calibrated(0.4, 0.0, 0.0, 4096.0, 3.0, 3.0, 2.7, at_end),
    }
    monkeypatch.setattr(calibration, "calibrate", lambda *_: found)
    road = made()
    stage = Calibration(road.run, road.prepared, road.teacher)
    stage.folder = road.calibration.folder.with_name(f"calibration-{at_end}")
    stage.ensure()
    written = json.loads((stage.folder / "calibration.json").read_text())["by_student_weight"]
    assert (written["0.0"]["at_end"], written["2.0"]["at_end"]) == (True, at_end)
    warned = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(warned) == at_end
    if at_end:
        assert re.match(r"The temperature 4096 of the student's weight 2, .* is the last .* better", *warned)


@pytest.mark.slow
def test_the_teacher_is_ranked_and_exported_as_calibrated_and_saved_without(made):
    road = made("teacher.student_weights=[2]")
    assert road.go(*whole(road))
    assert set(road.run.stopwatch.seconds) == {
        "teacher: calibration", "teacher: export", "distilled: training", "evaluation: teacher",
        "evaluation: distilled", "comparison",
    }  # fmt: skip
    assert not [name for name in load_file(road.teacher.folder / "trained.safetensors") if "weight_of" in name]
    assert road.teacher.load().calibration == (0.0, 1.0)
    model = road.calibration.load()
    assert model.calibration.student_weight == 2.0
    assert read_manifest(road.outputs.folder)["result"]["calibration"] == model.calibration._asdict()
    written = load_file(road.outputs.folder / "rankings.safetensors")
    first = DATASET.examples["train"].example_id[0]
    asked = DATASET.examples["train"].subset(written["example_ids"] - first)
    expected = model.score(DATASET.batch(asked, model.history_length)).log_softmax(1)
    found = expected.gather(1, written["items"])
    torch.testing.assert_close(found, written["scores"], rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_a_ranking_teacher_that_is_no_ensemble_keeps_its_scores(made):
    road = made()
    stage = Calibration(road.run, road.prepared, replace_load(road.teacher, nn.Linear(1, 1)))
    stage.folder = road.calibration.folder.with_name("calibration-other")
    stage.ensure()
    found = json.loads((stage.folder / "calibration.json").read_text())
    assert found == {"student_weight": 0.0, "temperature": 1.0}
    assert type(stage.load()) is nn.Linear


def replace_load(teacher, model):
    teacher.load = lambda: model
    return teacher


@pytest.mark.slow
def test_every_manifest_tells_what_was_computed_in(made):
    road = made()
    train = road.run.settings.student.train
    for stage in (road.baseline, road.distilled):
        assert read_manifest(stage.folder)["precision"] == student_precision(train.precision)
    for stage in (road.teacher, road.calibration, road.outputs):
        assert read_manifest(stage.folder)["precision"] == {"language_model": "32-true", "scores": "float32"}
