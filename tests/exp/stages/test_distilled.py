from pathlib import Path

import pytest
import torch

from src.core.artefact import TEACHER_OUTPUTS, read_manifest, writing
from src.core.errors import UserError
from src.distill.distilled_student import check_negatives
from tests.exp.roads import road_in, run_in
from tests.worlds import tiny_dataset

DATASET = tiny_dataset()  # 15 items; the longest training history has 8


def given_outputs(folder: Path) -> Path:
    with writing(folder, TEACHER_OUTPUTS, {}) as temporary:
        (temporary / "rankings").write_text("1")
    return folder


def test_the_distilled_student_depends_on_the_contents_of_given_outputs(tmp_path):
    given = given_outputs(tmp_path / "anyones")
    (given / "manifest.json").unlink()

    def folder() -> Path:
        return road_in(tmp_path, DATASET, f"distill.teacher_outputs_path={given}").distilled.folder

    first = folder()
    assert folder() == first
    (given / "rankings").write_text("2")
    assert folder() != first


def test_outputs_that_are_missing_are_named_with_the_command_and_the_key(tmp_path):
    road = road_in(tmp_path, DATASET)
    with pytest.raises(UserError, match=r"no teacher outputs at .*run_teacher.*distill.teacher_outputs_path"):
        road.distilled.ensure()
    road = road_in(tmp_path, DATASET, f"distill.teacher_outputs_path={tmp_path / 'nowhere'}")
    with pytest.raises(UserError, match=r"no teacher outputs at .*nowhere"):
        road.go(road.prepared, road.distilled)


@pytest.mark.parametrize(
    ("settings", "needed"),
    [
        (["distill=dllm2rec"], "distill.gamma_consistency=0"),
        (["distill.lam=0", "distill.alpha=0.5"], "distill.alpha=0"),
        (["distill.lam=0", "distill.weighting=meta", "distill.alpha=1"], "distill.alpha=0, distill.weighting=uniform"),
        (["distill=rd", "student.loss.num_negatives=16"], "student.loss.num_negatives=128 or more"),
        (["distill=rd", "student/loss=bce"], "student.loss.num_negatives=128 or more"),
    ],
)
def test_terms_that_look_at_all_items_are_refused_where_items_move_by_batch(tmp_path, settings, needed):
    sparse = ["student/loss=sampled_softmax", "student.train.sparse_items=true"]
    road = road_in(tmp_path, DATASET, *sparse, *settings)
    with pytest.raises(UserError, match=rf"too few to stand for all: set {needed}, or student"):
        road.go(road.prepared, road.baseline, road.distilled)
    assert not road.baseline.folder.exists()
    road.baseline.check_settings()


def test_items_that_move_by_batch_learn_from_the_lists_of_a_teacher(tmp_path):
    lists = ["distill.rd.weight=0.5", "distill.soft_targets.weight=0.5", "distill.soft_targets.rest=true"]
    sparse = ["student/loss=sampled_softmax", "student.train.sparse_items=true", "distill.gamma_consistency=0"]
    road_in(tmp_path, DATASET, "distill=dllm2rec", *sparse, *lists).distilled.check_settings()


@pytest.mark.parametrize("overrides", ["distill.lam=0", "distill.candidate_topk=5", "student.model.history_length=3"])
def test_a_catalogue_without_room_for_negatives_is_refused(tmp_path, overrides):
    wide = ["distill=dllm2rec", "student.model.history_length=8", "distill.candidate_topk=6", "teacher.export.k=6"]
    settings = run_in(tmp_path, *wide).settings
    with pytest.raises(UserError, match=r"has 15 items, of which a history \(8\), its target and .* items \(6\)"):
        check_negatives(settings.student, settings.distill, DATASET)
    settings = run_in(tmp_path, *wide, overrides).settings
    check_negatives(settings.student, settings.distill, DATASET)


@pytest.mark.slow
def test_a_catalogue_without_room_for_negatives_is_refused_before_the_student_is_trained(made):
    outputs = f"distill.teacher_outputs_path={made().outputs.folder}"
    road = made(outputs, "distill=dllm2rec", "distill.candidate_topk=6", "teacher.export.k=6")
    with pytest.raises(UserError, match="may leave none to be a negative"):
        road.go(road.prepared, road.distilled)
    assert not road.distilled.folder.exists()
    assert not (road.run.dir / "checkpoints").exists()


@pytest.mark.slow
def test_outputs_with_fewer_items_than_are_asked_for_are_refused(made):
    outputs = made().outputs.folder
    road = made(f"distill.teacher_outputs_path={outputs}", "teacher.export.k=5", "distill.candidate_topk=5")
    with pytest.raises(UserError, match=r"hold 4 items per example, fewer than distill\.candidate_topk=5"):
        road.distilled.ensure()
    assert not road.distilled.folder.exists()


@pytest.mark.slow
def test_a_hint_needs_states_of_users(made):
    road = made("distill=hint")
    with pytest.raises(UserError, match=r"distill\.hint=1\.0 needs the teacher's representations.*user_states=true"):
        road.distilled.ensure()


@pytest.mark.slow
def test_given_outputs_make_the_student_that_ones_own_make(made):
    own = made().distilled
    road = made(f"distill.teacher_outputs_path={made().outputs.folder}")
    road.distilled.ensure()
    assert road.distilled.folder != own.folder
    history = torch.tensor([[1, 2, 3]])
    assert torch.equal(road.distilled.load().predict(history), own.load().predict(history))
    about = read_manifest(own.folder)
    assert (about["stage"], about["distill"]) == ("distilled: training", own.settings.distill.plain())
    assert about["inputs"] == read_manifest(road.distilled.folder)["inputs"]
