"""Evaluates popularity, baseline, teacher and distilled student on the same test users."""

from .program.run import Run, command
from .stages.report import report
from .stages.road import Road


def job(run: Run) -> None:
    road = Road(run)
    popularity, *trained = road.evaluations("popularity", "baseline", "teacher", "distilled")
    comparison = road.comparison(trained)
    if road.go(road.prepared, popularity, *trained, comparison):
        report(run, [popularity, *trained], comparison)


main = command(job, __spec__.name, __doc__)

if __name__ == "__main__":
    main()
