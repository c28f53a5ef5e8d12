"""Trains again on the log and the events that the service has kept, and makes a served model, which it takes over."""

import logging
from dataclasses import replace

from ..core.artefact import making
from .program.run import Run, command
from .stages.following import follow
from .stages.plan import show_plan
from .stages.prepare import Prepare
from .stages.road import Road
from .stages.updated import UpdatedLog

log = logging.getLogger(__name__)


def job(run: Run) -> None:
    # one at a time: of two, the one that ends last must be the one that knows more events
    with making(run.settings.paths.updates_dir / run.settings.dataset.name / "run_update"):
        before = Prepare(run)
        updated = UpdatedLog(run, before)
        updated.check_settings()
        if updated.events.is_empty():
            log.info("No event has been kept yet: nothing to train on.")
        elif run.settings.dry_run:
            show_plan([before, updated])
        else:
            before.ensure()
            updated.ensure()
            _train(replace(run, settings=updated.settings_after()))


def _train(run: Run) -> None:
    road = Road(run)
    teaching = road.teaching() if run.settings.serve.student == "distilled" else []
    if road.go(road.prepared, *teaching, road.served.student, road.served):
        road.served.become_newest()
        print(road.served.folder)


main = command(job, __spec__.name, __doc__, follow)

if __name__ == "__main__":
    main()
