"""Searches the student's settings on validation, within a budget of trials and minutes."""

from .program.run import Run, command
from .stages.road import Road


def job(run: Run) -> None:
    road = Road(run)
    if road.go(road.prepared):
        from .studies.search import search
        from .studies.search_report import tell

        tell(run, search(run, road.prepared.dataset))


main = command(job, __spec__.name, __doc__)

if __name__ == "__main__":
    main()
