"""What trainings over several processes refuse."""

import pytest

from src.core.errors import UserError
from src.exp.stages import distilled, training
from src.exp.stages.following import _all, _training
from src.exp.stages.road import Road
from src.exp.stages.teacher import teacher
from src.exp.stages.training import Training
from src.exp.studies.budget_curve import draw_budget_curve
from src.exp.studies.search import search
from tests.exp.roads import road_in, run_in
from tests.worlds import tiny_dataset


@pytest.fixture
def of_two(monkeypatch):
    for module in (distilled, teacher, training):
        monkeypatch.setattr(module, "started_together", lambda: 2)


@pytest.mark.parametrize(
    ("stage", "overrides", "says"),
    [
        ("baseline", ["student/loss=bce", "student.train.sparse_items=true"], "sparse_items=true is of one process"),
        ("teacher", ["teacher.llm.quantization=nf4"], "quantization goes with one process alone"),
        ("distilled", ["distill.preset=paper", "distill.alpha=1.0"], "no process sees of the others"),
    ],
)
def test_what_processes_cannot_share_is_refused_before_anything_runs(stage, overrides, says, of_two, tmp_path):
    with pytest.raises(UserError, match=says):
        getattr(Road(run_in(tmp_path, *overrides)), stage).check_settings()


def test_a_shared_language_model_needs_several_processes_and_whole_numbers(monkeypatch, tmp_path):
    with pytest.raises(UserError, match=r"trainer\.shard=true shares a language model out .* there is one"):
        Road(run_in(tmp_path, "trainer.shard=true")).teacher.check_settings()
    Road(run_in(tmp_path, "trainer.shard=true")).baseline.check_settings()  # students take no notice
    Road(run_in(tmp_path, "trainer.shard=true", "trainer.devices=2")).teacher.check_settings()  # dry_run
    monkeypatch.setattr(teacher, "started_together", lambda: 2)
    Road(run_in(tmp_path, "trainer.shard=true")).teacher.check_settings()
    with pytest.raises(UserError, match="quantization goes with one process alone"):
        Road(run_in(tmp_path, "trainer.shard=true", "teacher.llm.quantization=nf4")).teacher.check_settings()


@pytest.mark.parametrize("overrides", [["distill.preset=paper", "distill.alpha=0.0"], ["distill.alpha=1.0"]])
def test_other_distillation_is_shared(overrides, of_two, tmp_path):
    Road(run_in(tmp_path, *overrides)).distilled.check_settings()


def test_python_callers_train_in_one_process(tmp_path):
    road = road_in(tmp_path, tiny_dataset(), "trainer.devices=2")
    with pytest.raises(UserError, match=r"trainer\.devices above 1 is of the commands"):
        road.baseline.ensure()


def test_studies_of_many_students_train_each_in_one_process(tmp_path):
    road = road_in(tmp_path, tiny_dataset(), "trainer.devices=2")
    with pytest.raises(UserError, match="run_search trains each student in one process"):
        search(road.run, road.prepared.dataset)
    with pytest.raises(UserError, match="The curve trains each student in one process"):
        draw_budget_curve(road)


def test_whoever_follows_finds_every_training_of_the_road_and_sees_another_key(tmp_path):
    overrides = ["student_seeds=2", "controls=true", "distill.text_init=0.05"]
    road = road_in(tmp_path, tiny_dataset(), *overrides)
    trainings = [stage for stage in _all(road.trainings()) if isinstance(stage, Training)]
    labels = {stage.label for stage in trainings}
    assert {"baseline: training", "baseline: training, seed 1", "teacher: training", "titles alone: training"} <= labels
    baseline = road.baselines[1]
    assert _training(road, baseline.label, baseline.folder) is baseline
    with pytest.raises(UserError, match="What baseline: training, seed 1 is made from differs between processes"):
        _training(road, baseline.label, baseline.folder.with_name("another"))
