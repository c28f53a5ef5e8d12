"""What stages that train have in common: they go on where they were stopped, and several processes may join in."""

import shutil
from abc import ABC, abstractmethod
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from ...core.artefact import unfinished
from ...core.errors import UserError
from ...student.settings import StudentSettings
from ...training.started import leads, started_together
from ..program.run import Run
from .base import Prepared, Stage

if TYPE_CHECKING:
    import lightning as L

    from ...student.trainer_baseline import NextItemModule

Module = TypeVar("Module", bound="L.LightningModule")


class Training(Stage, ABC, Generic[Module]):
    """While it trains, `<its folder>.unfinished/` holds the checkpoint from which the same command, started again, goes
    on; once the artefact is there, the last checkpoint goes to the run's folder.

    Of several processes (`training.processes`) the first one makes the artefact, and calls the others for the training
    alone.
    """

    name: ClassVar[str]  # what its folders in the run's `checkpoints/` and `tensorboard/` begin with

    @abstractmethod
    def trained(self) -> tuple[Module, dict[str, Any]]:
        """Trains; returns what was trained, and what `fit` says of it."""

    @abstractmethod
    def save(self, module: Module, result: dict[str, Any]) -> None:
        """Writes the artefact."""

    def make(self) -> None:
        with self._together():
            module, result = self.trained()
        self.save(module, result)

    def _together(self) -> AbstractContextManager[None]:
        if started_together() == 1:
            if self.settings.trainer.devices > 1:
                raise UserError("trainer.devices above 1 is of the commands: train with 1 from Python.")
            return nullcontext()
        from ...training.processes import line

        line.tell(
            {
                "settings": self.settings.plain(),
                "run_dir": str(self.run.dir),
                "items_held_out": self.prepared.items_held_out,
                "training": self.label,
                "folder": str(self.folder),
            }
        )
        return line.group()

    def join(self) -> None:
        """Takes part in this training, which the first process makes the artefact of; writes nothing."""
        from ...training.processes import line

        self.begin()
        self.made_from = {name: stage.content_digest for name, stage in self.inputs_by_name().items()}
        with line.group():
            self.trained()

    @property
    def checkpoints(self) -> str:
        """Which folder of the run's `checkpoints/` and `tensorboard/`."""
        return self.name

    def goes_on(self) -> dict[str, Any]:
        """Returns what the loop has to know to go on: where checkpoints are kept, and of which artefact they are, made
        from which contents; and who is told of its figures.
        """
        return {
            "kept_in": self.kept_so_far() if leads() else unfinished(self.folder),
            "made_from": {"artefact": self.folder.name} | self.made_from,
            "loggers": self.run.loggers(self.checkpoints),
        }

    def tidy(self, left: Path) -> None:
        """See `Stage.tidy`."""
        from ...training.checkpoints import LAST

        if (left / LAST).is_file():
            folder = self.run.dir / "checkpoints" / self.checkpoints
            folder.mkdir(parents=True, exist_ok=True)
            shutil.move(left / LAST, folder / LAST)
        super().tidy(left)


class StudentTraining(Training["NextItemModule"], ABC):
    """A training that may be repeated with other seeds of the student, in one run (`student_seeds`).

    Args:
        run, prepared: See `Stage`.
        seed: Of this training; None: that of the student's settings.
    """

    def __init__(self, run: Run, prepared: Prepared, seed: int | None = None) -> None:
        super().__init__(run, prepared)
        self._seed = seed

    @property
    def student(self) -> StudentSettings:
        """Which student."""
        return self.settings.student

    @property
    def seed(self) -> int:
        return self.student.training_seed(self.settings.seed) if self._seed is None else self._seed

    @property
    def is_one_of_several(self) -> bool:
        """Whether this is a later seed of several: the first is called as the only one would be."""
        return self._seed is not None and self._seed != self.settings.student_seed

    @property
    def label(self) -> str:
        return f"{self.title}, seed {self.seed}" if self.is_one_of_several else self.title

    @property
    def checkpoints(self) -> str:
        return f"{self.name}_seed_{self.seed}" if self.is_one_of_several else self.name

    def check_settings(self) -> None:
        if started_together() > 1 and self.student.train.sparse_items:
            raise UserError(
                "student.train.sparse_items=true is of one process, whose optimiser looks at its own batch's rows: set "
                "it to false, or trainer.devices to 1."
            )

    def fitted(self, module: "NextItemModule") -> "tuple[NextItemModule, dict[str, Any]]":
        """Returns the student once it is trained, and what `fit` says of it."""
        from ...student.trainer_baseline import fit_student

        result = fit_student(
            module,
            self.student,
            self.prepared.dataset,
            self.settings.metrics,
            self.seed,
            stage=self.checkpoints,
            run_dir=self.run.dir,
            **self.goes_on(),
        )
        return module, result
