"""The whole road: prepare, baseline, teacher, teacher outputs, distilled student, comparison."""

from .program.run import Run, command
from .stages.report import report
from .stages.road import Road


def job(run: Run) -> None:
    road = Road(run)
    popularity, *trained = road.evaluations("popularity", "baseline", "teacher", "distilled")
    comparison = road.comparison(trained)
    teacher = (road.user_encoder, road.teacher, road.ranking_teacher, road.outputs)
    if road.go(road.prepared, road.baseline, *teacher, road.distilled, popularity, *trained, comparison):
        report(run, [popularity, *trained], comparison)


main = command(job, __spec__.name, __doc__)

if __name__ == "__main__":
    main()
