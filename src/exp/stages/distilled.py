"""Dataset and teacher outputs → distilled student."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...core.artefact import STUDENT
from ...core.errors import UserError
from ...core.paths import command_line
from ..program.run import Run
from .base import Prepared, Stage
from .teacher_outputs import TeacherOutputsStage
from .training import Training

if TYPE_CHECKING:
    from ...student.models import SequentialRecommender


class Distilled(Training):
    """`data/models/<dataset>/distilled-<student>-<key>/`: weights, the teacher's vectors folded in."""

    title = "distilled: training"
    what = "distilled student"
    kind = STUDENT
    command = "run_distill"
    checkpoints = "distilled"

    def __init__(self, run: Run, prepared: Prepared, outputs: TeacherOutputsStage) -> None:
        super().__init__(run, prepared)
        self.outputs = outputs

    def inputs(self) -> Sequence[Stage]:
        return (self.outputs,)

    def own_folder(self) -> Path:
        student = self.settings.student
        return self.keyed(
            self.settings.paths.models_dir,
            f"distilled-{student.name.replace(':', '.')}-",
            *self.counted,
            self.seed,
        )

    @property
    def counted(self) -> list[Any]:
        # the checkpoint is chosen by the last of them
        return [self.settings.student.key(), self.settings.distill.key(), self.settings.metrics.filter_seen]

    @property
    def seed(self) -> int:
        return self.settings.student_seed

    def check_settings(self) -> None:
        """Makes sure that the student's settings can be distilled."""
        if self.settings.student.train.sparse_items:
            raise UserError(
                "student.train.sparse_items=true does not go with distillation, which scores the whole catalogue: set "
                f"it to false, or train the baseline alone (`{command_line('run_student_baseline')}`)."
            )

    def check(self) -> None:
        """Makes sure that every example leaves an item to be a negative."""
        from ...distill.distilled_student import check_negatives

        check_negatives(self.settings.student, self.settings.distill, self.prepared.dataset)

    def make(self) -> None:
        from ...core.precision import student_precision
        from ...distill.distilled_student import distil_module
        from ...student.store import save_student
        from ...student.trainer_baseline import fit_student

        student, distill, seed = self.settings.student, self.settings.distill, self.seed
        dataset = self.prepared.dataset
        outputs = self.outputs.load()
        module = distil_module(student, distill, dataset, outputs, seed)
        result = fit_student(
            module,
            student,
            dataset,
            self.settings.metrics,
            seed,
            stage=self.checkpoints,
            run_dir=self.run.dir,
            **self.goes_on(),
        )
        module.model.items.fold()
        precision = student_precision(student.train.precision)
        about = {**self.about(result), "precision": precision, "distill": distill.plain()}
        save_student(self.folder, module.model, student.name, student.model.plain(), about)

    def load(self) -> "SequentialRecommender":
        """Returns the student, in evaluation mode.

        Raises:
            UserError: It is not there.
        """
        from ...student.store import load_student

        return load_student(self.require(), self.prepared.dataset)
