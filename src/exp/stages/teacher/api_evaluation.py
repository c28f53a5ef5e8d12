"""User encoder and an endpoint → figures on the test split: a question for every test user, where that is asked for."""

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ...program.run import Run
from ..base import Prepared, Stage
from ..evaluations import SPLIT, Evaluation, parameters_of, ranked_by
from .api_outputs import Asking
from .ensemble import Ensemble

if TYPE_CHECKING:
    from ....evaluation.ranking import Evaluation as Ranked


class ApiEvaluation(Evaluation):
    """A teacher that is asked over the network (`teacher.api.evaluate`).

    Args:
        run, prepared: See `Stage`.
        student: Whose best items are ranked.
    """

    subject = trained = "teacher"

    def __init__(self, run: Run, prepared: Prepared, student: Ensemble) -> None:
        super().__init__(run, prepared)
        self.student, self.asking = student, Asking(self)

    def inputs(self) -> Sequence[Stage]:
        return (self.student,)

    @property
    def counted(self) -> list[Any]:
        return self.asking.counted

    def also_counts(self) -> Sequence[Any]:
        return self.counted

    @property
    def training_stage(self) -> Stage:
        return self.student

    @property
    def model_name(self) -> str:
        return f"Teacher ({self.settings.teacher.name}, {self.settings.teacher.api.model})"

    def forecast(self) -> list[str]:
        """See `Stage.forecast`; whoever is answered already is counted, too."""
        return [self.asking.rough_forecast(self.title, SPLIT)]

    def check_settings(self) -> None:
        self.asking.check_settings()

    def check(self) -> None:
        super().check()
        self.asking.check()

    def rank(self) -> "tuple[Ranked, int]":
        """See `Evaluation.rank`; the time is with that of asking, the parameters are those of the student alone."""
        import torch

        from ....core.precision import autocast, best_device, resolve_precision
        from ....evaluation.ranking import rows_at_once
        from ....teacher.api.reordered import Reordered, best_of

        dataset, metrics, teacher = self.prepared.dataset, self.settings.metrics, self.settings.teacher
        test, student = dataset.examples[SPLIT], self.student.load().to(best_device())
        rows = rows_at_once(metrics, dataset, metrics.filter_seen)
        with autocast(resolve_precision(teacher.train.precision), best_device()):
            offered = best_of(student, dataset, test, teacher.api.candidates, metrics.filter_seen, rows)
        start = time.perf_counter()
        questions = self.asking.questions(dataset.batch(test, teacher.prompt.items).history, offered)
        with self.asking.store() as store:
            found = self.asking.ask(questions, store, self.title)
        seconds = time.perf_counter() - start
        ranked = ranked_by(Reordered(student, test.example_id, offered.gather(1, torch.tensor(found.places))), self)
        return replace(ranked, seconds=ranked.seconds + seconds), parameters_of(student)
