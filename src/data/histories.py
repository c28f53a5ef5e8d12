"""What a user took, in order: the same by the service that reads it and by the log that is trained on."""

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


def joined(log: Sequence[T], events: Sequence[T]) -> list[T]:
    """Returns a user's history: the log, then the events that are not its end already, as they are once a log holds
    them.
    """
    most = min(len(log), len(events))
    both = next((n for n in range(most, 0, -1) if log[-n:] == events[:n]), 0)
    return [*log, *events[both:]]
