"""Trains again on the log and the events that the service has kept, and makes a served model, which it takes over."""

import logging
from dataclasses import replace

from .program.run import Run, command
from .stages.plan import show_plan
from .stages.prepare import Prepare
from .stages.road import Road
from .stages.updated import UpdatedLog

log = logging.getLogger(__name__)


def job(run: Run) -> None:
    before = Prepare(run)
    updated = UpdatedLog(run, before)
    updated.check_settings()
    if updated.events.is_empty():
        log.info("No event has been kept yet: nothing to train on.")
        return
    if run.settings.dry_run:
        show_plan([before, updated])
        return
    before.ensure()
    updated.ensure()
    road = Road(replace(run, settings=updated.settings_after()))
    teaching = road.teaching() if run.settings.serve.student == "distilled" else []
    if road.go(road.prepared, *teaching, road.served.student, road.served):
        print(road.served.folder)


main = command(job, __spec__.name, __doc__)

if __name__ == "__main__":
    main()
