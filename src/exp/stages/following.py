"""What the other processes of a run do, while the first one goes the road: they join in its trainings."""

import json
import logging
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ...core.errors import UserError
from ...core.logging import Stopwatch
from ...core.settings_reading import read_settings
from ...training.started import place
from ..program.run import Run
from ..program.settings import RunSettings
from .base import Stage
from .prepare import PrepareWithoutItems
from .road import Road
from .training import Training

PATIENCE = 5.0  # seconds in which torchrun ends this process, where the first one tells of the same fault


def follow() -> int:
    """Waits for the first process's trainings and joins in, until that one is done; returns the status to end with.

    It tells nothing, but for what it alone has found.
    """
    from ...training.processes import is_loss, line

    logging.basicConfig(level="ERROR", stream=sys.stderr, force=True)
    road, told_before = None, ""
    try:
        while "done" not in (told := line.heard()):
            of_road = json.dumps([told["settings"], told["items_held_out"], told["run_dir"]])
            if road is None or of_road != told_before:
                road, told_before = _road(told), of_road
            _training(road, told["training"], Path(told["folder"])).join()
        return 0
    except UserError as error:
        time.sleep(PATIENCE)
        print(f"error: process {place()} on {socket.gethostname()}: {error}", file=sys.stderr)
        return 2
    except Exception as error:
        if is_loss(error):  # torchrun ends all, and says which one ended by itself
            return 1
        raise


def _road(told: dict[str, Any]) -> Road:
    run_dir = Path(told["run_dir"])
    run = Run(read_settings(RunSettings, told["settings"]), run_dir, Stopwatch(run_dir))
    share = told["items_held_out"]
    return Road(run, None if share is None else PrepareWithoutItems(run, share))


def _training(road: Road, label: str, folder: Path) -> Training:
    """Returns the stage of this label.

    Raises:
        UserError: Its key is another one than the first process's.
    """
    found = next(stage for stage in _all(road.trainings()) if isinstance(stage, Training) and stage.label == label)
    found.find()
    if found.folder != folder:
        raise UserError(
            f"What {label} is made from differs between processes ({found.folder.name} instead of {folder.name}): all "
            "machines must see the same files under the same paths."
        )
    return found


def _all(stages: list[Stage]) -> Iterator[Stage]:
    for stage in stages:
        yield from _all(list(stage.inputs()))
        yield stage
