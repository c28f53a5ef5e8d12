"""All stages of a run, each made once: what reads what can be seen here."""

import logging
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path

from ...core.errors import UserError
from ..program.run import Run
from .base import Stage
from .distilled import Distilled, SelfDistilled
from .evaluations import (
    Comparison,
    EnsembleEvaluation,
    Evaluation,
    PopularityEvaluation,
    StudentEvaluation,
    TeacherEvaluation,
)
from .plan import show_plan
from .prepare import Prepare
from .served import Served
from .students import Baseline, Member, TitlesAlone, TrainedStudent, UserEncoder
from .teacher.answers import Answers
from .teacher.api_evaluation import ApiEvaluation
from .teacher.api_outputs import ApiOutputs, Candidates
from .teacher.calibration import Calibration
from .teacher.encodings import Encodings, FrozenEncodings, LearnedEncodings
from .teacher.ensemble import Ensemble
from .teacher.outputs import Taught, TeacherOutputsStage
from .teacher.probe import Probe
from .teacher.self_outputs import SelfOutputs
from .teacher.teacher import Teacher

log = logging.getLogger(__name__)


class Road:
    """The stages.

    Args:
        run: Whose settings they follow.
        prepared: Raw log → dataset; None: that of the settings.
    """

    def __init__(self, run: Run, prepared: Prepare | None = None) -> None:
        self.run, self.prepared = run, prepared or Prepare(run)

    @cached_property
    def encodings(self) -> Encodings:
        """Dataset, language model → encodings of the items' texts."""
        frozen = FrozenEncodings(self.run, self.prepared)
        return LearnedEncodings(self.run, self.prepared, frozen) if self.run.settings.encoder.epochs > 0 else frozen

    @property
    def baseline(self) -> Baseline:
        """Dataset → student without a teacher; the first of `baselines`."""
        return self.baselines[0]

    @cached_property
    def user_encoder(self) -> UserEncoder:
        """Dataset → frozen student behind the teacher's gate and markers."""
        return UserEncoder(self.run, self.prepared, self.encodings)

    @cached_property
    def teacher(self) -> Teacher:
        """Dataset, user encoder → teacher."""
        return Teacher(self.run, self.prepared, self.user_encoder)

    @cached_property
    def calibration(self) -> Calibration:
        """Teacher → how it ranks."""
        return Calibration(self.run, self.prepared, self.teacher)

    @cached_property
    def probe(self) -> Probe:
        """Teacher → what its language model lives on."""
        return Probe(self.run, self.prepared, self.teacher)

    @property
    def probes(self) -> list[Probe]:
        """The probe; none where no language model ranks, or it is one that cannot be altered."""
        teacher = self.run.settings.teacher
        return [self.probe] if self.has_teacher and teacher.objective == "ranking" and teacher.name == "ilora" else []

    @property
    def ranking_teacher(self) -> Teacher | Calibration:
        """What ranks: the calibrated teacher; one that writes titles ranks by their likelihood, as it was trained."""
        return self.teacher if self.run.settings.teacher.objective == "generation" else self.calibration

    @property
    def who_teaches(self) -> Ensemble | Teacher | Calibration:
        """What ranks here for students to learn from: the ensemble, or the teacher alone.

        Raises:
            UserError: Nobody here does.
        """
        if self.candidates is not None:
            raise UserError(
                "teacher.name=api recommends to nobody: an endpoint is asked for students to learn from, so let a "
                "distilled student recommend (recommend.by=model serve.student=distilled)."
            )
        return self.ensemble or self.ranking_teacher

    @cached_property
    def members(self) -> dict[str, Member]:
        """Dataset → frozen students of the ensemble, by name."""
        names = self.run.settings.ensemble.members
        return {name: Member(self.run, self.prepared, self.encodings, name) for name in names}

    @cached_property
    def ensemble(self) -> Ensemble | None:
        """Members, teacher → what teaches together; None where the teacher does alone."""
        if not self.run.settings.ensemble.is_one:
            return None
        teacher = self.teacher if self.run.settings.ensemble.language_model else None
        likeness = self.encodings if self.run.settings.ensemble.likeness.member else None
        exported = self.encodings if teacher is None else None
        return Ensemble(self.run, self.prepared, self.members, exported, teacher, likeness)

    @cached_property
    def students_alone(self) -> Ensemble | None:
        """Those students that teach, or that the teacher was built over, and know no text; None: there is none, or
        nobody else teaches.

        Of a teacher alone it is the user encoder, whatever that begins with.
        """
        students = self.run.settings.ensemble.members
        of_ids = {name: self.members[name] for name, student in students.items() if not student.begins_with_texts}
        alone: dict[str, TrainedStudent] = dict(of_ids) if self._knows_texts else {}
        if not students and (self.ensemble is None or self.has_teacher):
            alone = {"user_encoder": self.user_encoder}
        return Ensemble(self.run, self.prepared, alone) if alone else None

    @property
    def _knows_texts(self) -> bool:
        """Whether something in the ensemble knows what items are called: a student, their likeness, or who reads."""
        ensemble = self.run.settings.ensemble
        by_texts = any(student.begins_with_texts for student in ensemble.members.values())
        return by_texts or ensemble.likeness.member or self.has_teacher

    @cached_property
    def candidates(self) -> Candidates | None:
        """User encoder → what a teacher is shown who is asked over the network; None where none is."""
        if self.students_alone is None or not self.run.settings.teacher.is_asked:
            return None
        return Candidates(self.run, self.prepared, self.students_alone, self.encodings)

    @cached_property
    def outputs(self) -> Taught:
        """Teacher, or candidates and who ranks them → teacher outputs."""
        if self.candidates is not None:
            return ApiOutputs(self.run, self.prepared, self.candidates)
        return TeacherOutputsStage(self.run, self.prepared, self.who_teaches)

    @cached_property
    def self_outputs(self) -> SelfOutputs | None:
        """Students → their own rankings, in the place of a teacher's."""
        alone = self.students_alone
        return SelfOutputs(self.run, self.prepared, alone, self.outputs) if alone else None

    @property
    def distilled(self) -> Distilled:
        """Dataset, teacher outputs → distilled student; the first of `students`."""
        return self.students[0]

    @cached_property
    def answers(self) -> Answers:
        """Generation teacher → HitRatio@1 of its answers."""
        return Answers(self.run, self.prepared, self.teacher)

    @cached_property
    def baselines(self) -> list[Baseline]:
        """The baseline, once for each seed of the student."""
        return [Baseline(self.run, self.prepared, self.encodings, seed) for seed in self.run.settings.all_student_seeds]

    @cached_property
    def students(self) -> list[Distilled]:
        """The distilled student, once for each seed."""
        return [Distilled(self.run, self.prepared, self.outputs, seed) for seed in self.run.settings.all_student_seeds]

    @cached_property
    def served(self) -> Served:
        """Student, distilled or not → served model."""
        distilled = self.run.settings.serve.student == "distilled"
        return Served(self.run, self.prepared, self.distilled if distilled else self.baseline, self.encodings)

    @cached_property
    def titles_alone(self) -> list[TitlesAlone]:
        """Control: a student that begins with the titles' encodings; none where the distilled one does not."""
        settings = self.run.settings
        more = settings.distill.text_init > settings.student.text_init
        begins = settings.controls and more and self.outputs.embeds_texts
        seeds = settings.all_student_seeds if begins else []
        return [TitlesAlone(self.run, self.prepared, self.encodings, seed) for seed in seeds]

    @cached_property
    def self_distilled(self) -> list[SelfDistilled]:
        """Control: a student that is shown `students_alone`'s rankings; none where there are no such students, where it
        learns from no rankings, or from the teacher's states of users, too, which students have none of.
        """
        settings, outputs = self.run.settings, self.self_outputs
        shown = settings.controls and settings.distill.learns_rankings and settings.distill.hint == 0
        if outputs is None or not shown:
            return []
        return [SelfDistilled(self.run, self.prepared, outputs, seed) for seed in settings.all_student_seeds]

    def trainings(self) -> list[Stage]:
        """Returns all that is trained and exported on the way to distilled students and controls, in order."""
        controls: list[Stage] = [*self.titles_alone]
        if self.self_outputs is not None and self.self_distilled:
            controls += [self.self_outputs.students, self.self_outputs, *self.self_distilled]
        if self.run.settings.controls:
            controls += self.probes
        return [*self.baselines, *self.teaching(), *self.students, *controls]

    def teaching(self) -> list[Stage]:
        """Returns all that is trained and exported for teacher outputs, in order."""
        read = [self.user_encoder, self.teacher, self.ranking_teacher] if self.has_teacher else []
        together = [] if self.ensemble is None else [*self.members.values(), self.ensemble]
        shown = [] if self.candidates is None else [*self.candidates.implied(), self.candidates]
        return [*read, *together, *shown, self.outputs]

    @property
    def has_teacher(self) -> bool:
        """Whether a language model is trained: not for an ensemble that does without, nor where one is asked."""
        if self.ensemble is None:
            return not self.run.settings.teacher.is_asked
        return self.ensemble.teacher is not None

    def evaluations(self, *subjects: str) -> list[list[Evaluation]]:
        """Returns the evaluations of some models, in the order of their names, each with all of its trainings.

        Args:
            subjects: Of `report.names.SUBJECTS`; controls, teachers and ensembles that this config does not have are
                left out.
        """
        run, prepared = self.run, self.prepared
        students: dict[str, tuple[str, Sequence[TrainedStudent | Distilled]]] = {
            "baseline": ("Baseline", self.baselines),
            "titles": ("Titles alone", self.titles_alone),
            "self_distilled": ("Self-distilled", self.self_distilled),
            "distilled": ("Distilled", self.students),
        }
        found: list[list[Evaluation]] = []
        for subject in subjects:
            if subject == "popularity":
                found.append([PopularityEvaluation(run, prepared)])
            elif subject == "teacher":
                found.append(self._of_teacher())
            elif subject == "ensemble":
                found.append([] if self.ensemble is None else [EnsembleEvaluation(run, prepared, self.ensemble)])
            else:
                role, trained = students[subject]
                found.append([StudentEvaluation(run, prepared, each, subject, role) for each in trained])
        return [each for each in found if each]

    def _of_teacher(self) -> list[Evaluation]:
        if self.has_teacher:
            return [TeacherEvaluation(self.run, self.prepared, self.ranking_teacher)]
        if self.candidates is not None and self.run.settings.teacher.api.evaluate:
            return [ApiEvaluation(self.run, self.prepared, self.candidates.student)]
        return []

    def comparison(self, evaluations: Sequence[Sequence[Evaluation]]) -> Comparison:
        """Evaluations → differences to the first of them, intervals and tests."""
        return Comparison(self.run, self.prepared, evaluations)

    def go(self, *stages: Stage) -> bool:
        """Makes what is not there yet, in this order, once all of it was checked; or prints the plan (`dry_run`).

        Returns:
            Whether the artefacts are there now.

        Raises:
            UserError: A stage cannot be made.
        """
        distinct = list(dict.fromkeys(each for stage in stages for each in with_implied(stage)))
        for stage in distinct:
            stage.check_settings()
        if self.run.settings.dry_run:
            show_plan(distinct)
            return False
        self.prepared.ensure()
        for stage in distinct:
            stage.find()
        todo: dict[Path, Stage] = {}  # two stages may be one artefact: the user encoder is often the baseline
        for stage in distinct:
            todo.setdefault(stage.folder, stage)
        del todo[self.prepared.folder]
        for stage in todo.values():
            if stage.why_to_make_now() is not None:
                stage.check()
        for stage in todo.values():
            stage.ensure()
        return True


def with_implied(stage: Stage) -> Iterator[Stage]:
    """Yields what is made with a stage wherever that is made, in the order in which it is made, and the stage."""
    for each in stage.implied():
        yield from with_implied(each)
    yield stage
