"""Distils the teacher outputs into the student, and ranks the test users."""

from .program.run import Run, command
from .stages.report import report
from .stages.road import Road


def job(run: Run) -> None:
    road = Road(run)
    with_baseline = road.baseline.is_made()
    models = ["baseline", "distilled"] if with_baseline else ["distilled"]
    popularity, *trained = road.evaluations("popularity", *models)
    comparisons = [road.comparison(trained)] if with_baseline else []
    if road.go(road.prepared, road.distilled, popularity, *trained, *comparisons):
        report(run, [popularity, *trained], *comparisons)


main = command(job, __spec__.name, __doc__)

if __name__ == "__main__":
    main()
