import logging
import os
from dataclasses import replace
from pathlib import Path

import pytest

from src.core.artefact import writing
from src.core.errors import UserError
from src.exp.artefacts import (
    baseline_folder,
    distilled_folder,
    existing,
    is_made,
    teacher_folder,
    teacher_outputs_folder,
    user_encoder_folder,
)
from tests.exp.roads import run_in
from tests.worlds import tiny_dataset

DATASET = tiny_dataset()

ALL = {"baseline", "teacher", "outputs", "distilled"}


def made(folder: Path, result: str = "") -> Path:
    """An artefact as far as fingerprints can see; other artefacts have other contents."""
    with writing(folder, {"of": folder.name, "result": result}) as temporary:
        (temporary / "weights").write_text("1")
    return folder


def road(tmp_path: Path, *overrides: str, dataset=DATASET) -> dict[str, str]:
    """Names of all artefact folders of a config, each made as soon as it is known."""
    run = run_in(tmp_path, *overrides)
    baseline = made(baseline_folder(run, dataset))
    teacher = made(teacher_folder(run, dataset))
    outputs = made(teacher_outputs_folder(run, dataset))
    distilled = distilled_folder(run, dataset)
    folders = {"baseline": baseline, "teacher": teacher, "outputs": outputs, "distilled": distilled}
    return {name: folder.name for name, folder in folders.items()}


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("seed=1", ALL),
        ("student.model.hidden_size=16", ALL),
        ("student.train.lr=0.5", ALL),
        ("teacher.lora.r=4", ALL - {"baseline"}),
        ("teacher.train.lr=0.5", ALL - {"baseline"}),
        ("teacher/llm=qwen", ALL - {"baseline"}),
        ("dataset.prompt=toys", ALL - {"baseline"}),
        ("teacher.export.k=5", {"outputs", "distilled"}),
        ("active.share=0.25", {"outputs", "distilled"}),
        ("distill.lam=0.5", {"distilled"}),
        ("metrics.ks=[2]", set()),
        ("logging.level=DEBUG", set()),
        ("rerun=true", set()),
        ("student.train.resume_from=a.ckpt", set()),
        ("teacher.train.resume_from=a.ckpt", set()),
        ("dataset.publisher=null", set()),
    ],
)
def test_a_setting_changes_what_depends_on_it_and_nothing_else(tmp_path, override, expected):
    before, after = road(tmp_path), road(tmp_path, override)
    assert {name for name in before if before[name] != after[name]} == expected


def test_another_dataset_changes_everything(tmp_path):
    before, after = road(tmp_path), road(tmp_path, dataset=replace(DATASET, fingerprint="another"))
    assert all(before[name] != after[name] for name in before)


def test_the_teacher_depends_on_its_template_and_its_user_encoder(tmp_path):
    run = run_in(tmp_path)
    made(baseline_folder(run, DATASET))
    first = teacher_folder(run, DATASET)
    (tmp_path / "prompts").mkdir()
    (tmp_path / "prompts" / "movies.txt").write_text("another [HistoryHere]")
    reworded = run_in(tmp_path, f"paths.prompts_dir={tmp_path / 'prompts'}")
    assert teacher_folder(reworded, DATASET) != first
    made(baseline_folder(run, DATASET), result="trained once more")
    assert teacher_folder(run, DATASET) != first


def test_the_distilled_student_depends_on_the_contents_of_the_outputs(tmp_path):
    run = run_in(tmp_path, f"distill.teacher_outputs_path={made(tmp_path / 'anyones')}")
    first = distilled_folder(run, DATASET)
    (tmp_path / "anyones" / "weights").write_text("2")
    assert distilled_folder(run, DATASET) != first


def test_folders_tell_dataset_kind_and_student(tmp_path):
    run = run_in(tmp_path, "student=gru4rec")
    folder = made(baseline_folder(run, DATASET))
    assert folder.parent == tmp_path / "models_dir" / "tiny"
    assert folder.name.startswith("baseline-gru4rec-")
    assert teacher_folder(run, DATASET).name.startswith("teacher-ilora-")
    assert teacher_outputs_folder(run, DATASET).parent == tmp_path / "teacher_outputs_dir" / "tiny"


def test_a_given_student_feeds_the_teacher(tmp_path):
    given = made(tmp_path / "mine")
    run = run_in(tmp_path, f"teacher.rec_model_checkpoint_path={given}")
    assert user_encoder_folder(run, DATASET) == given


def baseline_alike(tmp_path: Path, name: str, when: int, **changes: object) -> Path:
    student = run_in(tmp_path).settings("student")
    about = {"dataset_fingerprint": DATASET.fingerprint, "name": student["name"], "architecture": student["model"]}
    folder = tmp_path / "models_dir" / "tiny" / f"baseline-sasrec-{name}"
    with writing(folder, about | changes):
        pass
    os.utime(folder / "manifest.json", (when, when))
    return folder


def test_the_newest_baseline_alike_feeds_the_teacher_where_the_configs_own_is_missing(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    run = run_in(tmp_path)
    baseline_alike(tmp_path, "older", 100)
    newest = baseline_alike(tmp_path, "newest", 200)
    baseline_alike(tmp_path, "other-data", 300, dataset_fingerprint="another")
    baseline_alike(tmp_path, "wider", 300, architecture={"hidden_size": 512})
    assert user_encoder_folder(run, DATASET) == newest
    assert "the newest baseline alike feeds the teacher, baseline-sasrec-newest" in caplog.text
    own = made(baseline_folder(run, DATASET))
    assert user_encoder_folder(run, DATASET) == own


def test_what_is_missing_is_named_with_the_command_and_the_key(tmp_path):
    run = run_in(tmp_path)
    with pytest.raises(UserError, match=r"no trained student at .*run_student_baseline.*teacher.rec_model_checkpoint"):
        teacher_folder(run, DATASET)
    made(baseline_folder(run, DATASET))
    with pytest.raises(UserError, match=r"no teacher outputs at .*run_teacher.*distill.teacher_outputs_path"):
        distilled_folder(run, DATASET)
    with pytest.raises(UserError, match=r"no cake at .*absent.*src.exp.bake.* or set oven"):
        existing(tmp_path / "absent", "cake", "bake", "oven")


def test_a_stage_has_nothing_to_do_where_its_artefact_is_unless_asked_again(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    folder = tmp_path / "artefact"
    assert not is_made(run_in(tmp_path), folder)
    made(folder)
    assert is_made(run_in(tmp_path), folder)
    assert f"already there: {folder}" in caplog.text
    assert not is_made(run_in(tmp_path, "rerun=true"), folder)
