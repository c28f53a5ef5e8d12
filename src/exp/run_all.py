"""The whole road: prepare, baseline, teacher, teacher outputs, distilled student, comparison."""

from .program.run import Run, command
from .stages.report import report
from .stages.road import Road


def job(run: Run) -> None:
    road = Road(run)
    popularity, *trained = road.evaluations("popularity", "baseline", "teacher", "distilled")
    comparison = road.comparison(trained)
    stages = (road.prepared, road.baseline, road.user_encoder, road.teacher, road.outputs, road.distilled)
    if road.go(*stages, popularity, *trained, comparison):
        report(run, [popularity, *trained], comparison)


main = command(job, __spec__.name, __doc__)

if __name__ == "__main__":
    main()
