"""Dataset → a student that learns from the log alone: the baseline, the teacher's user encoder, a control."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...core.artefact import STUDENT, fingerprint
from ...student.settings import StudentSettings
from ..program.run import Run
from .base import Prepared, Stage
from .teacher.encodings import Encodings
from .training import StudentTraining

if TYPE_CHECKING:
    from torch import Tensor

    from ...student.models import SequentialRecommender
    from ...student.trainer_baseline import NextItemModule


class TrainedStudent(StudentTraining):
    """`data/models/<dataset>/baseline-<student>-<key>/`: weights, and what they were made from.

    Args:
        run, prepared: See `Stage`.
        encodings: What a student with `text_init` begins with.
        seed: Of the training; None: the settings'.
    """

    what = "trained student"
    kind = STUDENT
    command = "run_student_baseline"

    def __init__(self, run: Run, prepared: Prepared, encodings: Encodings, seed: int | None = None) -> None:
        super().__init__(run, prepared, seed)
        self.encodings = encodings

    def inputs(self) -> Sequence[Stage]:
        return (self.encodings,) if self.given is None and self.student.begins_with_texts else ()

    def implied(self) -> Sequence[Stage]:
        return self.inputs()

    def begins_with(self) -> "Tensor | None":
        """Returns the encodings that item vectors begin as, `[num_items, d]`; None where they begin at random."""
        return self.encodings.load() if self.inputs() else None

    @property
    def counted(self) -> list[Any]:
        return [self.student.key(), self.settings.metrics.filter_seen]  # the checkpoint is chosen by that

    def own_folder(self) -> Path:
        """Of one name whatever the student is for: baseline, user encoder and control may be one artefact."""
        key = fingerprint(
            "baseline",
            self.kind.format,
            self.prepared.fingerprint,
            [each.identity for each in self.inputs()],
            *self.counted,
            self.seed,
        )
        models = self.settings.paths.models_dir / self.settings.dataset.name
        return models / f"baseline-{self.student.name.replace(':', '.')}-{key}"

    def trained(self) -> "tuple[NextItemModule, dict[str, Any]]":
        from ...student.trainer_baseline import baseline_module

        return self.fitted(baseline_module(self.student, self.prepared.dataset, self.begins_with()))

    def save(self, module: "NextItemModule", result: dict[str, Any]) -> None:
        from ...core.precision import student_precision
        from ...student.store import save_student

        module.model.items.fold()  # of vectors that were read from texts; the artefact is one like any other
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
    name = "baseline"


class TitlesAlone(TrainedStudent):
    """The baseline that begins with the encodings of the items' texts, as the distilled student does: how much of a
    gain these bring without any ranking of a teacher.
    """

    title = "titles alone: training"
    command = "run_all"
    elsewhere = "controls=false"
    name = "titles"

    @property
    def student(self) -> StudentSettings:
        return self.settings.student.model_copy(update={"text_init": self.settings.distill.text_init})


class UserEncoder(TrainedStudent):
    """The frozen student behind the teacher's gate and markers; where it is the same as the baseline, the same one."""

    title = "user encoder: training"
    command = "run_teacher"
    elsewhere = "teacher.rec_model_checkpoint_path"
    name = "user_encoder"

    @property
    def given(self) -> Path | None:
        return self.settings.teacher.rec_model_checkpoint_path

    @property
    def student(self) -> StudentSettings:
        return self.settings.teacher.user_encoder


class Member(TrainedStudent):
    """A frozen student of the ensemble that teaches; where it is the same as another student, the same one.

    Args:
        run, prepared, encodings: See `TrainedStudent`.
        member: Its name in `ensemble.members`.
    """

    command = "run_teacher"
    elsewhere = "ensemble.members"

    def __init__(self, run: Run, prepared: Prepared, encodings: Encodings, member: str) -> None:
        super().__init__(run, prepared, encodings)
        self.member = member

    @property
    def title(self) -> str:  # type: ignore[override]
        return f"ensemble's {self.member}: training"

    @property
    def name(self) -> str:  # type: ignore[override]
        return f"member_{self.member}"

    @property
    def student(self) -> StudentSettings:
        return self.settings.ensemble.members[self.member]
