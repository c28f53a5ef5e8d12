"""Every stage of a road, as `run_all` goes it."""

from src.exp.stages.base import Stage
from src.exp.stages.road import Road


def whole(road: Road) -> list[Stage]:
    """Returns the eleven stages, in order."""
    popularity, *trained = road.evaluations("popularity", "baseline", "teacher", "distilled")
    stages = (road.prepared, road.baseline, road.user_encoder, road.teacher, road.outputs, road.distilled)
    return [*stages, popularity, *trained, road.comparison(trained)]
