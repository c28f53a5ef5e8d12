"""Trains the student without a teacher and ranks the test users with it."""

from .program.run import Run, command
from .stages.evaluations import every
from .stages.following import follow
from .stages.report import report
from .stages.road import Road


def job(run: Run) -> None:
    road = Road(run)
    evaluations = road.evaluations("popularity", "baseline")
    if road.go(road.prepared, *road.baselines, *every(evaluations)):
        report(run, evaluations)


main = command(job, __spec__.name, __doc__, follow)

if __name__ == "__main__":
    main()
