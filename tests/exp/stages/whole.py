"""Every stage of a road, as `run_all` goes it."""

from src.exp.stages.base import Stage
from src.exp.stages.road import Road


def whole(road: Road) -> list[Stage]:
    """Returns the twelve stages, in order."""
    popularity, *trained = road.evaluations("popularity", "baseline", "teacher", "distilled")
    teacher = (road.user_encoder, road.teacher, road.calibration, road.outputs)
    return [road.prepared, road.baseline, *teacher, road.distilled, popularity, *trained, road.comparison(trained)]
