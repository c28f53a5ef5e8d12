"""Fetches what a run will need, so that nothing is downloaded later: the dataset's raw files and the language model."""

from .program.run import Run, command
from .stages.road import Road


def job(run: Run) -> None:
    road = Road(run)
    if road.go(road.prepared):
        road.teacher.check()


main = command(job, __spec__.name, __doc__)

if __name__ == "__main__":
    main()
