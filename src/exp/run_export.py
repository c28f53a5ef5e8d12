"""Exports what a trained teacher, or an ensemble, knows; any number of these commands at once share the work."""

from .program.run import Run, command
from .stages.road import Road


def job(run: Run) -> None:
    road = Road(run)
    road.go(road.prepared, road.outputs)


main = command(job, __spec__.name, __doc__)

if __name__ == "__main__":
    main()
