"""Who is at what: files in a folder that all processes see, kept alive by those who wrote them."""

import json
import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

BEATS = 10  # signs of life within the time after which a process counts as lost

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Claim:
    """A file that says who is at something.

    content: What it says of its owner, which is nobody else's.
    """

    path: Path
    content: str

    def holds(self) -> bool:
        """Whether it is still this one's: another process may have taken it for lost."""
        return _read(self.path) == self.content


class Claims:
    """What one process claims. A claim is a file that is created only where there is none; while it is held its time of
    change is renewed, `BEATS` times within `lost_after`.

    A claim is lost, and may be taken over, if its process is not there any more, where that was one of this machine; or
    if nobody has renewed it for `lost_after` while this process looked on. So no two machines' clocks are compared.

    A process that was not lost but stood still may find its claim taken over. Then two are at one thing, which must do
    no harm: what they make is the same, and put in place by one renaming.

    Args:
        lost_after: Seconds.
    """

    def __init__(self, lost_after: float) -> None:
        self.lost_after = lost_after
        self._seen: dict[Path, tuple[tuple[str, int], float]] = {}  # claims of others: content and time of change, when

    @property
    def pause(self) -> float:
        """Seconds after which it is worth looking again at what others are at."""
        return min(1.0, self.lost_after / BEATS)

    @contextmanager
    def take(self, path: Path) -> Iterator[Claim | None]:
        """Holds the claim `path` within the block; yields None where it is another's."""
        claim = self._new(path) or self._taken_over(path)
        if claim is None:
            yield None
            return
        done = threading.Event()
        beating = threading.Thread(target=self._keep_alive, args=(claim, done), daemon=True)
        beating.start()
        try:
            yield claim
        finally:
            done.set()
            beating.join()
            if claim.holds():
                path.unlink(missing_ok=True)

    def _new(self, path: Path) -> Claim | None:
        content = json.dumps([socket.gethostname(), os.getpid(), uuid.uuid4().hex])
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
        except (FileExistsError, FileNotFoundError):  # the latter: all is done, and the folder was removed just now
            return None
        with os.fdopen(descriptor, "w") as file:
            file.write(content)
        return Claim(path, content)

    def _taken_over(self, path: Path) -> Claim | None:
        """Returns a claim in the place of one that is lost; None: there is none such, or another was quicker."""
        there = self._lost(path)
        if there is None:
            return None
        aside = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
        try:
            path.rename(aside)
        except FileNotFoundError:
            return None
        if _read(aside) != there:  # what another has put there in the place of the lost one
            with suppress(FileNotFoundError):
                aside.rename(path)
            return None
        log.info("%s is taken over from a process that gives no sign of life: %s", path.stem, there)
        aside.unlink(missing_ok=True)
        return self._new(path)

    def _lost(self, path: Path) -> str | None:
        """Returns what a lost claim says; None where it is not lost, or not lost yet."""
        content = _read(path)
        try:
            seen = content or "", path.stat().st_mtime_ns
        except FileNotFoundError:
            return None
        if content is None:
            return None
        if _is_of_a_dead_process_here(content):
            return content
        before, now = self._seen.get(path), time.monotonic()
        if before is None or before[0] != seen:
            self._seen[path] = seen, now
            return None
        return content if now - before[1] > self.lost_after else None

    def _keep_alive(self, claim: Claim, done: threading.Event) -> None:
        while not done.wait(self.lost_after / BEATS) and claim.holds():
            with suppress(OSError):  # a file system that does not answer just now: there are more beats to come
                os.utime(claim.path)


def is_alive(process: int) -> bool:
    """Returns whether there is a process of this number on this machine."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's, but there
        return True
    return True


def _is_of_a_dead_process_here(content: str) -> bool:
    try:
        told = json.loads(content)
    except ValueError:  # just being written, or damaged: only time can tell
        return False
    match told:
        case [str(host), int(process), str()]:
            return host == socket.gethostname() and not is_alive(process)
    return False


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:  # not there, or the file system does not answer just now
        return None
