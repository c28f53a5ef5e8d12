"""The whole recipe: prepare, baselines, teacher, teacher outputs, distilled students, controls, comparison."""

from ..report.names import SUBJECTS
from .program.run import Run, command
from .stages.evaluations import every
from .stages.following import follow
from .stages.report import report
from .stages.road import Road


def job(run: Run) -> None:
    road = Road(run)
    popularity, *trained = road.evaluations(*SUBJECTS)
    comparison = road.comparison(trained)
    if road.go(road.prepared, *road.trainings(), *every([popularity, *trained]), comparison):
        report(run, [popularity, *trained], comparison, road.probes)


main = command(job, __spec__.name, __doc__, follow)

if __name__ == "__main__":
    main()
