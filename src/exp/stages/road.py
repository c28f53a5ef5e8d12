"""All stages of a run, each made once: what reads what can be seen here."""

import logging
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path

from ..program.run import Run
from .answers import Answers
from .base import Stage
from .calibration import Calibration
from .distilled import Distilled
from .evaluations import (
    BaselineEvaluation,
    Comparison,
    DistilledEvaluation,
    Evaluation,
    PopularityEvaluation,
    TeacherEvaluation,
)
from .plan import show_plan
from .prepare import Prepare
from .students import Baseline, UserEncoder
from .teacher import Teacher
from .teacher_outputs import TeacherOutputsStage

log = logging.getLogger(__name__)


class Road:
    """The stages.

    Args:
        run: Whose settings they follow.
    """

    def __init__(self, run: Run) -> None:
        self.run = run

    @cached_property
    def prepared(self) -> Prepare:
        """Raw log → dataset."""
        return Prepare(self.run)

    @cached_property
    def baseline(self) -> Baseline:
        """Dataset → student without a teacher."""
        return Baseline(self.run, self.prepared)

    @cached_property
    def user_encoder(self) -> UserEncoder:
        """Dataset → frozen student behind the teacher's gate and markers."""
        return UserEncoder(self.run, self.prepared)

    @cached_property
    def teacher(self) -> Teacher:
        """Dataset, user encoder → teacher."""
        return Teacher(self.run, self.prepared, self.user_encoder)

    @cached_property
    def calibration(self) -> Calibration:
        """Teacher → how it ranks."""
        return Calibration(self.run, self.prepared, self.teacher)

    @property
    def ranking_teacher(self) -> Teacher | Calibration:
        """What ranks: the calibrated teacher; one that writes titles ranks by their likelihood, as it was trained."""
        return self.teacher if self.run.settings.teacher.objective == "generation" else self.calibration

    @cached_property
    def outputs(self) -> TeacherOutputsStage:
        """Teacher → teacher outputs."""
        return TeacherOutputsStage(self.run, self.prepared, self.ranking_teacher)

    @cached_property
    def distilled(self) -> Distilled:
        """Dataset, teacher outputs → distilled student."""
        return Distilled(self.run, self.prepared, self.outputs)

    @cached_property
    def answers(self) -> Answers:
        """Generation teacher → HitRatio@1 of its answers."""
        return Answers(self.run, self.prepared, self.teacher)

    def evaluations(self, *subjects: str) -> list[Evaluation]:
        """Returns the evaluations of popularity, baseline, teacher or distilled student."""
        kinds: dict[str, Callable[[], Evaluation]] = {
            "popularity": lambda: PopularityEvaluation(self.run, self.prepared),
            "baseline": lambda: BaselineEvaluation(self.run, self.prepared, self.baseline),
            "teacher": lambda: TeacherEvaluation(self.run, self.prepared, self.ranking_teacher),
            "distilled": lambda: DistilledEvaluation(self.run, self.prepared, self.distilled),
        }
        return [kinds[subject]() for subject in subjects]

    def comparison(self, evaluations: Sequence[Evaluation]) -> Comparison:
        """Evaluations → differences to the first of them, intervals and tests."""
        return Comparison(self.run, self.prepared, evaluations)

    def go(self, *stages: Stage) -> bool:
        """Makes what is not there yet, in this order, once all of it was checked; or prints the plan (`dry_run`).

        Returns:
            Whether the artefacts are there now.

        Raises:
            UserError: A stage cannot be made.
        """
        distinct = list(dict.fromkeys(stages))
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
