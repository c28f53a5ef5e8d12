"""What stages that train have in common: they go on where they were stopped."""

import shutil
from abc import ABC
from pathlib import Path
from typing import Any, ClassVar

from ...student.settings import StudentSettings
from ..program.run import Run
from .base import Prepared, Stage


class Training(Stage, ABC):
    """While it trains, `<its folder>.unfinished/` holds the checkpoint from which the same command, started again, goes
    on; once the artefact is there, the last checkpoint goes to the run's folder.
    """

    name: ClassVar[str]  # what its folders in the run's `checkpoints/` and `tensorboard/` begin with

    @property
    def checkpoints(self) -> str:
        """Which folder of the run's `checkpoints/` and `tensorboard/`."""
        return self.name

    def goes_on(self) -> dict[str, Any]:
        """Returns what the loop has to know to go on: where checkpoints are kept, and of which artefact they are, made
        from which contents; and who is told of its figures.
        """
        return {
            "kept_in": self.kept_so_far(),
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


class StudentTraining(Training, ABC):
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
