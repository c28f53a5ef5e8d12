"""A progress bar with an ETA on a terminal, a line now and then in a log file."""

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

SECONDS_BETWEEN_LINES = 15.0

log = logging.getLogger(__name__)


class Advance(Protocol):
    """Tells that `steps` more are done, and what is worth a `note` beside them."""

    def __call__(self, steps: int, note: str = "") -> None: ...


@contextmanager
def progress(title: str, total: int) -> Iterator[Advance]:
    """Yields `advance(steps, note)`; shows what is done, the time spent and the time left until the block ends.

    Args:
        title: What is under way, e.g. `"teacher: training"`.
        total: Number of steps that make the whole.
    """
    with _bar(title, total) if sys.stderr.isatty() else _lines(title, total) as advance:
        yield advance


@contextmanager
def _bar(title: str, total: int) -> Iterator[Advance]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("ETA"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(title, total=total, note="")

        def advance(steps: int, note: str = "") -> None:
            bar.update(task, advance=steps, note=note)

        yield advance


@contextmanager
def _lines(title: str, total: int) -> Iterator[Advance]:
    start = last_line = time.monotonic()
    done = 0

    def advance(steps: int, note: str = "") -> None:
        nonlocal done, last_line
        done += steps
        now = time.monotonic()
        if done and now - last_line >= SECONDS_BETWEEN_LINES:
            last_line = now
            left = (now - start) / done * (total - done)
            log.info("%s: %s of %s, %.0f s, ETA %.0f s %s", title, f"{done:,}", f"{total:,}", now - start, left, note)

    yield advance
    log.info("%s: %s of %s in %.0f s", title, f"{done:,}", f"{total:,}", time.monotonic() - start)
