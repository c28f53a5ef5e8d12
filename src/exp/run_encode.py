"""Encodes the items' texts by the language model; with encoder.epochs they learn from the log what follows what."""

from .program.run import Run, command
from .stages.following import follow
from .stages.road import Road


def job(run: Run) -> None:
    road = Road(run)
    road.go(road.prepared, road.encodings)


main = command(job, __spec__.name, __doc__, follow)

if __name__ == "__main__":
    main()
