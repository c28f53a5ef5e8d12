"""Evaluates popularity, baselines, what teaches, distilled students, and controls that are there, on the same users."""

from collections.abc import Sequence

from .program.run import Run, command
from .stages.base import Stage
from .stages.evaluations import every
from .stages.report import SUBJECTS, report
from .stages.road import Road


def job(run: Run) -> None:
    road = Road(run)
    controls: dict[str, Sequence[Stage]] = {"titles": road.titles_alone, "self_distilled": road.self_distilled}
    missing = [name for name, trained in controls.items() if not all(each.is_made() for each in trained)]
    popularity, *trained = road.evaluations(*(subject for subject in SUBJECTS if subject not in missing))
    comparison = road.comparison(trained)
    if road.go(road.prepared, *every([popularity, *trained]), comparison):
        report(run, [popularity, *trained], comparison, road.probes)


main = command(job, __spec__.name, __doc__)

if __name__ == "__main__":
    main()
