"""Dataset and teacher outputs → distilled student."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...core.artefact import STUDENT
from ...core.errors import UserError
from ...core.paths import command_line
from ...training.started import started_together
from ..program.run import Run
from .base import Prepared, Stage
from .teacher.outputs import Outputs
from .training import StudentTraining

if TYPE_CHECKING:
    from ...student.models import SequentialRecommender
    from ...student.trainer_baseline import NextItemModule

# Items drawn for an estimate of a softmax over all: of 256 the gradient's direction is right to 1 %, of one it has
# nothing to do with the right one (docs/scale.md).
LEAST_NEGATIVES = 128


class Distilled(StudentTraining):
    """`data/models/<dataset>/distilled-<student>-<key>/`: weights, the teacher's vectors folded in.

    Args:
        run, prepared, seed: See `StudentTraining`.
        outputs: What the teacher knows.
    """

    title = "distilled: training"
    what = "distilled student"
    kind = STUDENT
    command = "run_distill"
    name = "distilled"

    def __init__(self, run: Run, prepared: Prepared, outputs: Outputs, seed: int | None = None) -> None:
        super().__init__(run, prepared, seed)
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

    def check_settings(self) -> None:
        """Makes sure that the student's settings can be distilled."""
        begins, distilled_begins = self.settings.student.text_init, self.settings.distill.text_init
        if begins > 0 and begins != distilled_begins:
            raise UserError(
                f"student.text_init={begins} goes with distill.text_init={begins} alone, since a distilled student "
                f"begins as the latter says ({distilled_begins}): set both to the same, or student.text_init to 0."
            )
        if self.settings.student.item_vectors != "free":
            raise UserError(
                "student.item_vectors=texts does not go with distillation, whose items have vectors of their own: set "
                f"it to free, or train the baseline alone (`{command_line('run_student_baseline')}`)."
            )
        if self.settings.student.train.sparse_items:
            self._check_sampled()
        if started_together() > 1 and self.settings.distill.preset == "paper" and self.settings.distill.alpha > 0:
            raise UserError(
                "distill.preset=paper multiplies every example's weights with every other example's DROS, which no "
                "process sees of the others: set trainer.devices=1, distill.alpha=0 or distill.preset=corrected."
            )
        super().check_settings()

    def _check_sampled(self) -> None:
        """Raises UserError where a term looks at every item's score, whose gradient would reach every item, or would be
        estimated from so few items that its direction is wrong.
        """
        distill, loss = self.settings.distill, self.settings.student.loss
        lists = distill.rd.weight > 0 or distill.soft_targets.weight > 0
        needed = {
            "distill.alpha=0": distill.alpha > 0,
            "distill.gamma_consistency=0": distill.lam > 0 and distill.gamma_consistency > 0,
            "distill.weighting=uniform": distill.weighting != "uniform",
            f"student.loss.num_negatives={LEAST_NEGATIVES} or more": lists
            and getattr(loss, "num_negatives", 0) < LEAST_NEGATIVES,
        }
        if any(needed.values()):
            raise UserError(
                "student.train.sparse_items=true looks at the items of a batch alone, and these settings of "
                "distillation at all items, or at too few to stand for all: set "
                f"{', '.join(key for key, asked in needed.items() if asked)}, or student.train.sparse_items to false."
            )

    def check(self) -> None:
        """Makes sure that every example leaves an item to be a negative."""
        from ...distill.distilled_student import check_negatives

        check_negatives(self.settings.student, self.settings.distill, self.prepared.dataset)

    def trained(self) -> "tuple[NextItemModule, dict[str, Any]]":
        from ...distill.distilled_student import distil_module

        student, distill = self.settings.student, self.settings.distill
        return self.fitted(distil_module(student, distill, self.prepared.dataset, self.outputs.load(), self.seed))

    def save(self, module: "NextItemModule", result: dict[str, Any]) -> None:
        from ...core.precision import student_precision
        from ...student.store import save_student

        student, distill = self.settings.student, self.settings.distill
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


class SelfDistilled(Distilled):
    """The distilled student with one thing taken away: what it is shown are the rankings of the teacher's user encoder,
    not those of the language model.
    """

    title = "self-distilled: training"
    what = "self-distilled student"
    command = "run_all"
    elsewhere = "controls=false"
    name = "self_distilled"
