"""Figures as cells and sentences show them."""

from ..intervals import Estimate


def signed(value: float) -> str:
    """Returns e.g. "+0.0012"."""
    return f"{value:+.4f}".replace("-", "−")


def with_interval(found: Estimate | None) -> str:
    """Returns e.g. "+0.0012 [−0.0003, +0.0027]"; nothing where there is no mean, no interval where there is none."""
    if found is None:
        return ""
    if found.low is None or found.high is None:
        return signed(found.mean)
    return f"{signed(found.mean)} [{signed(found.low)}, {signed(found.high)}]"


def share(value: float) -> str:
    """Returns e.g. "12.3 %"."""
    return f"{100 * value:.1f} %"


def relative(value: float | None) -> str:
    """Returns e.g. "+12.3 %"; nothing for None."""
    return "" if value is None else f"{100 * value:+.1f} %".replace("-", "−")


def duration(seconds: float) -> str:
    """Returns e.g. "12 s", "4 min 5 s" or "2 h 3 min"."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
