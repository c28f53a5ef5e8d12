"""Windows put together to users' logs: the same examples, and no more of them than their overlaps leave."""

from collections import defaultdict
from dataclasses import dataclass, field

import polars as pl

from .frames import Item, Window

SPLITS = ("train", "val", "test")
HISTORY = "history"  # the part of interactions that belong to no split: they are read, never trained on or ranked


@dataclass
class Log:
    """What one user did, put together.

    items: Oldest first.
    parts: The split of each, or `HISTORY`.
    """

    items: list[Item] = field(default_factory=list)
    parts: list[str] = field(default_factory=list)


def put_together(frames: dict[str, list[Window]]) -> list[Log]:
    """Joins windows into logs, so that each window is again the newest items before its target.

    A window goes on the log whose newest items are its history; where there is none it begins one. Frames do not say
    whose a window is: where two users have the same newest items, either log is taken, which changes no example. The
    history that a log begins with counts as training where the window is one of train (its items then are targets, too,
    which the frame does not say), and as `HISTORY` where it is of val or test.

    Args:
        frames: By split, train first.

    Returns:
        The logs; parts never go back from test to val or from val to train.
    """
    length = max((len(window.history) for windows in frames.values() for window in windows), default=0)
    logs: list[Log] = []
    ending: dict[tuple[Item, ...], list[Log]] = defaultdict(list)  # logs by their newest items, the latest last
    for split in SPLITS:
        for window in frames[split]:
            fitting = ending.get(window.history) if window.history else None
            if fitting:
                log = fitting.pop()
            else:
                before = "train" if split == "train" else HISTORY
                log = Log([*window.history], [before] * len(window.history))
                logs.append(log)
            log.items.append(window.target)
            log.parts.append(split)
            ending[tuple(log.items[-length:])].append(log)
    return logs


def as_log(logs: list[Log]) -> pl.DataFrame:
    """Returns `user`, `item` (texts), `timestamp` (the place in the user's log), `part`, and `rating` where items have
    one.
    """
    rows = [
        (str(user), item, place, part)
        for user, log in enumerate(logs)
        for place, (item, part) in enumerate(zip(log.items, log.parts, strict=True))
    ]
    users, items, places, parts = zip(*rows, strict=True)
    rated = isinstance(items[0], tuple)
    numbers = [item[0] if isinstance(item, tuple) else item for item in items]
    ratings = {"rating": [item[1] for item in items if isinstance(item, tuple)]} if rated else {}
    frame = {"user": users, "item": list(map(str, numbers)), "timestamp": places, "part": parts, **ratings}
    return pl.DataFrame(frame)
