"""Tasks that any number of processes do together: each is done by whoever comes first, and once."""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from .claims import Claims

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Task:
    """What one process does of the whole.

    claim: Who is at it is said here.
    is_there: Whether it is done.
    make: Does it, so that what is made is absent or whole at every moment, whoever makes it.
    """

    claim: Path
    is_there: Callable[[], bool]
    make: Callable[[], None]


def do_together(tasks: Sequence[Task], claims: Claims, is_over: Callable[[], bool]) -> bool:
    """Does the tasks that nobody is at, waits for those that others are at, and does these if the others are lost.

    Args:
        tasks: In the order in which they are best done.
        claims: This process's.
        is_over: Whether what all tasks are for is there already: nothing is left to do then.

    Returns:
        Whether all are done; False: it is over.

    Raises:
        OSError: A task of this process's failed, and it was nobody else's meanwhile.
    """
    left, waits = list(tasks), False
    while left:
        others = []
        for task in left:
            if is_over():
                return False
            if not (task.is_there() or _done(task, claims)):
                others.append(task)
        if others and len(others) == len(left):
            if not waits:
                log.info("Other processes are at the last %d: waiting for them", len(others))
            waits = True
            time.sleep(claims.pause)
        left = others
    return True


def _done(task: Task, claims: Claims) -> bool:
    """Does a task unless it is another's; returns whether it is done."""
    with claims.take(task.claim) as claim:
        if claim is None:
            return False
        if task.is_there():  # since we looked
            return True
        try:
            task.make()
        except OSError:
            if claim.holds() and not task.is_there():
                raise
            return task.is_there()  # another took it over, and ours collided with what it has put there
    return True
