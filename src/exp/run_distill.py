"""Distils the teacher outputs into the student, and ranks the test users."""

from .program.run import Run, command
from .stages.evaluations import every
from .stages.following import follow
from .stages.report import report
from .stages.road import Road


def job(run: Run) -> None:
    road = Road(run)
    with_baseline = all(each.is_made() for each in road.baselines)
    models = ["baseline", "distilled"] if with_baseline else ["distilled"]
    popularity, *trained = road.evaluations("popularity", *models)
    comparison = road.comparison(trained) if with_baseline else None
    compared = [] if comparison is None else [comparison]
    if road.go(road.prepared, *road.students, *every([popularity, *trained]), *compared):
        report(run, [popularity, *trained], comparison)


main = command(job, __spec__.name, __doc__, follow)

if __name__ == "__main__":
    main()
