"""A progress bar with an ETA on a terminal, a line now and then in a log file."""

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Column

SECONDS_BETWEEN_LINES = 15.0

log = logging.getLogger(__name__)


class Advance(Protocol):
    """Tells that `steps` more are done, and what is worth a `note` beside them."""

    def __call__(self, steps: int, note: str = "") -> None: ...


@contextmanager
def progress(title: str, total: int) -> Iterator[Advance]:
    """Yields `advance(steps, note)`; shows what is done, the time left and the note until the block ends. Then the log
    tells how far it came and how long that took, whatever ended it.

    Args:
        title: What is under way, e.g. `"teacher: training"`.
        total: Number of steps that make the whole.
    """
    start, done, last_note = time.monotonic(), 0, ""
    try:
        with _bar(title, total) if sys.stderr.isatty() else _lines(title, total) as show:

            def advance(steps: int, note: str = "") -> None:
                nonlocal done, last_note
                done, last_note = done + steps, note
                show(steps, note)

            yield advance
    finally:
        seconds = time.monotonic() - start
        log.info("%s: %s of %s in %.0f s%s", title, f"{done:,}", f"{total:,}", seconds, last_note and f", {last_note}")


@contextmanager
def _bar(title: str, total: int) -> Iterator[Advance]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=12),
        TaskProgressColumn(table_column=Column(no_wrap=True, min_width=4)),
        TextColumn("ETA"),
        TimeRemainingColumn(table_column=Column(no_wrap=True, min_width=7)),
        TextColumn("{task.fields[note]}"),
    )
    # What is logged meanwhile goes above the bar; the log's last line stays in its place.
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
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
