"""Dataset → a student that learns from the log alone: the baseline, and the teacher's user encoder."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...core.artefact import STUDENT, fingerprint
from ...student.settings import StudentSettings
from .training import Training

if TYPE_CHECKING:
    from ...student.models import SequentialRecommender


class TrainedStudent(Training):
    """`data/models/<dataset>/baseline-<student>-<key>/`: weights, and what they were made from."""

    what = "trained student"
    kind = STUDENT
    command = "run_student_baseline"
    checkpoints = "baseline"

    @property
    def student(self) -> StudentSettings:
        """Which student."""
        return self.settings.student

    @property
    def seed(self) -> int:
        return self.student.training_seed(self.settings.seed)

    @property
    def counted(self) -> list[Any]:
        return [self.student.key(), self.settings.metrics.filter_seen]  # the checkpoint is chosen by that

    def own_folder(self) -> Path:
        key = fingerprint(
            "baseline",
            self.kind.format,
            self.prepared.fingerprint,
            *self.counted,
            self.seed,
        )
        models = self.settings.paths.models_dir / self.settings.dataset.name
        return models / f"baseline-{self.student.name.replace(':', '.')}-{key}"

    def make(self) -> None:
        from ...core.precision import student_precision
        from ...student.store import save_student
        from ...student.trainer_baseline import baseline_module, fit_student

        dataset = self.prepared.dataset
        module = baseline_module(self.student, dataset)
        result = fit_student(
            module,
            self.student,
            dataset,
            self.settings.metrics,
            self.seed,
            stage=self.checkpoints,
            run_dir=self.run.dir,
            **self.goes_on(),
        )
        about = {**self.about(result), "precision": student_precision(self.student.train.precision)}
        save_student(self.folder, module.model, self.student.name, self.student.model.plain(), about)

    def load(self) -> "SequentialRecommender":
        """Returns the student, in evaluation mode.

        Raises:
            UserError: It is not there, or belongs to another dataset.
        """
        from ...student.store import load_student

        student = load_student(self.require(), self.prepared.dataset)
        self.unchanged()
        return student


class Baseline(TrainedStudent):
    """The student of this config without a teacher: what a distilled one is compared with."""

    title = "baseline: training"
    elsewhere = "the student's settings back"


class UserEncoder(TrainedStudent):
    """The frozen student behind the teacher's gate and markers; where it is the same as the baseline, the same one."""

    title = "user encoder: training"
    command = "run_teacher"
    elsewhere = "teacher.rec_model_checkpoint_path"
    checkpoints = "user_encoder"

    @property
    def given(self) -> Path | None:
        return self.settings.teacher.rec_model_checkpoint_path

    @property
    def student(self) -> StudentSettings:
        return self.settings.teacher.user_encoder
