"""What stages that train have in common: they go on where they were stopped."""

import shutil
from abc import ABC
from pathlib import Path
from typing import Any, ClassVar

from .base import Stage


class Training(Stage, ABC):
    """While it trains, `<its folder>.unfinished/` holds the checkpoint from which the same command, started again, goes
    on; once the artefact is there, the last checkpoint goes to the run's folder.
    """

    checkpoints: ClassVar[str]  # which folder of the run's checkpoints/

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
