"""Trained teacher → teacher outputs: rankings of training examples, and item embeddings."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ....core.artefact import TEACHER_OUTPUTS, making
from ....core.errors import UserError
from ...program.run import Run
from ..base import Prepared, Stage
from .calibration import Calibration
from .ensemble import Ensemble
from .teacher import Teacher

if TYPE_CHECKING:
    from ....distill.data_bridge import TeacherOutputs

log = logging.getLogger(__name__)


class Outputs(Stage, ABC):
    """What a student is distilled from, in DLLM2Rec's layout. All processes that want it make it together."""

    kind = TEACHER_OUTPUTS
    before: str | None = None  # which artefact was there when this process began

    @property
    def score_direction(self) -> str | None:
        """Whether a higher or a lower score is better; None: the manifest says it."""
        return None

    def load(self) -> "TeacherOutputs":
        """Returns the outputs as the student's tensors.

        Raises:
            UserError: They are not there, or belong to another dataset, or hold what cannot be.
        """
        from ....distill.data_bridge import load_teacher_outputs

        outputs = load_teacher_outputs(self.require(), self.prepared.dataset, self.score_direction)
        self.unchanged()
        return outputs

    def ensure(self) -> None:
        """See `Stage.ensure`; beside other processes, ends when the artefact is there, whoever wrote it."""
        self.before = self.there()
        super().ensure()

    def turn(self) -> AbstractContextManager[object]:
        """See `Stage.turn`: everyone's, at any time."""
        return nullcontext()

    def kept_so_far(self) -> Path:
        """See `Stage.kept_so_far`; processes that begin at the same moment look one after the other."""
        with making(self.folder):
            return super().kept_so_far()

    def tidy(self, left: Path) -> None:
        """See `Stage.tidy`; leaves alone what another process has begun since."""
        self.clear_leftovers()

    def is_over(self) -> bool:
        """Whether another process has written the artefact since this one began, from what this one reads."""
        return self.there() != self.before and self.is_made()


class Taught(Outputs, ABC):
    """What the students of this config are distilled from: teacher outputs of its own, or anyone's, that it names."""

    what = "teacher outputs"
    command = "run_teacher"
    elsewhere = "distill.teacher_outputs_path"

    @property
    def given(self) -> Path | None:
        return self.settings.distill.teacher_outputs_path

    @property
    def score_direction(self) -> str | None:
        return self.settings.distill.score_direction

    @property
    @abstractmethod
    def embeds_texts(self) -> bool:
        """Whether its item embeddings are the encodings of the items' texts (`Encodings`); what those of given outputs
        are nobody knows.
        """


class Exported(Outputs, ABC):
    """Rankings of train examples by a model that is here.

    Args:
        run, prepared: See `Stage`.
        teacher: Who ranks.
    """

    def __init__(self, run: Run, prepared: Prepared, teacher: Teacher | Calibration | Ensemble) -> None:
        super().__init__(run, prepared)
        self.teacher = teacher

    def inputs(self) -> Sequence[Stage]:
        return (self.teacher,)

    @property
    def counted(self) -> list[Any]:
        return [self.settings.teacher.export.key(), self.settings.active.key()]

    def ranker(self) -> Any:
        """Returns the model, in evaluation mode, see `teacher.export.Ranking`."""
        return self.teacher.load()

    def make(self) -> None:
        from ....core.precision import autocast, best_device, resolve_precision, teacher_precision
        from ....core.seed import generator
        from ....distill.selection_policy import Pool, create_selection_policy
        from ....evaluation.ranking import rows_at_once
        from ....teacher.export import BYTES_PER_SCORE, export_teacher_outputs
        from ....teacher.exporting.units import how_it_ranks

        dataset, export, active = self.prepared.dataset, self.settings.teacher.export, self.settings.active
        train, seed = dataset.examples["train"], self.settings.seed
        self.kept_so_far()
        model = self.ranker().to(best_device())
        ranks_by = how_it_ranks(model)
        pool = Pool(dataset, model.user_encoder, model.read_together(dataset), seed)
        asked = create_selection_policy(active).select(pool, generator(seed))
        log.info(
            "The teacher is asked about %s of %s train examples (active.policy=%s, active.share=%s).",
            f"{len(asked):,}",
            f"{len(train):,}",
            active.policy,
            active.share,
        )
        with autocast(resolve_precision(self.settings.teacher.train.precision), best_device()):
            export_teacher_outputs(
                model,
                dataset,
                train.subset((asked - train.example_id[0]).long()),
                self.folder,
                export,
                rows_at_once(self.settings.metrics, dataset, export.exclude_seen, BYTES_PER_SCORE),
                lambda: {
                    **self.about({"teacher": self.teacher.folder.name, "calibration": ranks_by}),
                    "precision": teacher_precision(self.settings.teacher.train.precision),
                    "teacher_settings": self.settings.teacher.plain(),
                    "active": active.plain(),
                },
                self.is_over,
            )


class TeacherOutputsStage(Exported, Taught):
    """`data/teacher_outputs/<dataset>/<key>/`: what was trained here ranks."""

    @property
    def title(self) -> str:  # type: ignore[override]
        return "ensemble: export" if isinstance(self.teacher, Ensemble) else "teacher: export"

    @property
    def embeds_texts(self) -> bool:
        """See `Taught.embeds_texts`: those that the teacher ranks with are none, nor are those of a generation teacher,
        which are of the titles alone.
        """
        teacher = self.settings.teacher
        reads_titles = teacher.objective == "generation" and not isinstance(self.teacher, Ensemble)
        return self.given is None and teacher.export.item_embeddings == "text" and not reads_titles

    def check_settings(self) -> None:
        """Makes sure that distilled students and those that they are compared with begin with the same encodings."""
        somebody_reads = not isinstance(self.teacher, Ensemble) or self.teacher.teacher is not None
        if self.settings.encoder.epochs > 0 and somebody_reads and self.embeds_texts:
            raise UserError(
                "encoder.epochs must be 0 where a language model reads: it exports encodings of its own, which have "
                "not learned, and students that begin with the learned ones would be compared with those that begin "
                "with its; or set ensemble.language_model=false, or teacher.export.item_embeddings=ranking."
            )

    def own_folder(self) -> Path:
        return self.keyed(self.settings.paths.teacher_outputs_dir, "", *self.counted, self.settings.seed)
