"""The fingerprint and the folder of every artefact, computed from the config alone: what a stage makes, others find."""

import logging
from pathlib import Path
from typing import Any

from ..core.artefact import MANIFEST, fingerprint, read_manifest, sha256_of
from ..core.dataset import Dataset
from ..core.errors import UserError
from ..teacher.generation_prompt import read_templates
from ..teacher.prompt import read_template
from .run import Run

log = logging.getLogger(__name__)

# Keys that say where something lies or how a run goes on, not what it computes.
NO_CHANGE_OF_RESULT = {"resume_from", "wheel", "rec_model_checkpoint_path", "teacher_outputs_path", "export"}


def baseline_folder(run: Run, dataset: Dataset) -> Path:
    """Folder of the student trained without a teacher."""
    key = fingerprint("baseline", dataset.fingerprint, _settings(run, "student"), run.cfg.seed)
    return run.path("models_dir") / dataset.name / f"baseline-{run.cfg.student.name}-{key}"


def user_encoder_folder(run: Run, dataset: Dataset) -> Path:
    """Folder of the frozen student that feeds the teacher's gate and markers: the one that the config names, or this
    config's own baseline, or else, told in the log, the newest baseline of the same architecture on the same dataset.
    """
    given = run.cfg.teacher.rec_model_checkpoint_path
    folder = Path(given) if given else baseline_folder(run, dataset)
    if not given and not folder.is_dir():
        alike = [other for other in folder.parent.glob("baseline-*") if _is_alike(run, dataset, other)]
        if alike:
            newest = max(alike, key=lambda other: (other / MANIFEST).stat().st_mtime)
            log.info("%s is not there: the newest baseline alike feeds the teacher, %s", folder.name, newest.name)
            return newest
    return existing(folder, "trained student", "run_student_baseline", "teacher.rec_model_checkpoint_path")


def _is_alike(run: Run, dataset: Dataset, folder: Path) -> bool:
    manifest, student = read_manifest(folder), run.settings("student")
    theirs = manifest.get("dataset_fingerprint"), manifest.get("name"), manifest.get("architecture")
    return theirs == (dataset.fingerprint, student["name"], student["model"])


def teacher_folder(run: Run, dataset: Dataset) -> Path:
    """Folder of the trained teacher."""
    read = read_templates if run.cfg.teacher.objective == "generation" else read_template
    template = read(run.path("prompts_dir"), run.cfg.dataset.prompt)
    encoder = sha256_of(user_encoder_folder(run, dataset) / MANIFEST)
    key = fingerprint("teacher", dataset.fingerprint, _settings(run, "teacher"), template, encoder, run.cfg.seed)
    return run.path("models_dir") / dataset.name / f"teacher-{run.cfg.teacher.name}-{key}"


def teacher_outputs_folder(run: Run, dataset: Dataset) -> Path:
    """Folder of what the teacher exported, or of anyone's outputs that the config names."""
    given = run.cfg.distill.teacher_outputs_path
    if given:
        return Path(given)
    teacher = teacher_folder(run, dataset)
    key = fingerprint(teacher.name, run.settings("teacher.export"), run.settings("active"), run.cfg.seed)
    return run.path("teacher_outputs_dir") / dataset.name / key


def distilled_folder(run: Run, dataset: Dataset) -> Path:
    """Folder of the student trained with the teacher outputs."""
    outputs = existing(
        teacher_outputs_folder(run, dataset), "teacher outputs", "run_teacher", "distill.teacher_outputs_path"
    )
    key = fingerprint(
        "distilled",
        dataset.fingerprint,
        _settings(run, "student"),
        _settings(run, "distill"),
        [sha256_of(file) for file in sorted(outputs.iterdir()) if file.is_file()],
        run.cfg.seed,
    )
    return run.path("models_dir") / dataset.name / f"distilled-{run.cfg.student.name}-{key}"


def existing(folder: Path, what: str, command: str, key: str) -> Path:
    """Returns `folder` if it is there.

    Raises:
        UserError: It is not; names the command that makes it from this config, and the key that points elsewhere.
    """
    if not folder.is_dir():
        raise UserError(
            f"There is no {what} at {folder}: make it with `poetry run python -m src.exp.{command}` and the same "
            f"overrides, or set {key}."
        )
    return folder


def is_made(run: Run, folder: Path) -> bool:
    """Whether a stage has nothing to do because its artefact is there and `rerun` does not ask for it again."""
    made = folder.is_dir() and not run.cfg.rerun
    if made:
        log.info("already there: %s", folder)
    return made


def _settings(run: Run, key: str) -> Any:
    return _without_paths(run.settings(key))


def _without_paths(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {key: _without_paths(inner) for key, inner in value.items() if key not in NO_CHANGE_OF_RESULT}
