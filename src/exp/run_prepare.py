"""Prepares the dataset: raw log to interactions, items, users and examples of every split."""

from .program.run import Run, command
from .stages.road import Road


def job(run: Run) -> None:
    road = Road(run)
    road.go(road.prepared)


main = command(job, __spec__.name, __doc__)

if __name__ == "__main__":
    main()
