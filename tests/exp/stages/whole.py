"""Every stage of a road, as `run_all` goes it."""

from src.exp.stages.base import Stage
from src.exp.stages.evaluations import every
from src.exp.stages.road import Road
from src.report.names import SUBJECTS


def whole(road: Road) -> list[Stage]:
    """Returns the stages in order: twelve where there are neither controls nor further seeds."""
    popularity, *trained = road.evaluations(*SUBJECTS)
    return [road.prepared, *road.trainings(), *every([popularity, *trained]), road.comparison(trained)]
