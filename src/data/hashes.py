"""SHA-256 of raw files, remembered: a large file is read for it once, not at every start."""

import logging
import time
from pathlib import Path
from typing import Any

from ..core.artefact import fingerprint, read_json, sha256_of, write_json
from ..core.errors import UserError

FOLDER = ".hashes"
REMEMBERED_FROM = 1 << 24  # bytes; what is smaller is read in milliseconds
COARSEST = 2_000_000_000  # nanoseconds between two times that a file system can tell apart (FAT)

log = logging.getLogger(__name__)


def remembered_sha256(path: Path, folder: Path | None) -> str:
    """Returns the SHA-256 of a file's contents in hex.

    What was found is kept with size, times, device and inode, and holds as long as none of these differs. A file that
    changed shortly before it was read may change again within the same tick of the file system's clock, so that nothing
    would tell: of such a file nothing is kept (git calls such entries of its index "racily clean"). The time of change
    (ctime) cannot be set back by a program, which the time of modification can.

    Args:
        path: The file.
        folder: Where it is remembered, in `.hashes/`; where that cannot be written to, or for None,
            nothing is.

    Raises:
        OSError: The file cannot be read.
    """
    before = _state(path)
    if folder is None or before["size"] < REMEMBERED_FROM:
        return sha256_of(path)
    note = folder / FOLDER / f"{fingerprint(before['path'])}.json"
    known = _read(note)
    if isinstance(known, dict) and known.get("state") == before and isinstance(known.get("sha256"), str):
        return known["sha256"]
    started = time.time_ns()
    found = sha256_of(path)
    if _state(path) == before and max(before["mtime_ns"], before["ctime_ns"]) + COARSEST < started:
        try:
            note.parent.mkdir(parents=True, exist_ok=True)
            write_json(note, {"state": before, "sha256": found})
        except OSError as error:
            log.debug("%s is read at every start: %s cannot be written (%s)", path, note, error.strerror)
    return found


def _state(path: Path) -> dict[str, Any]:
    """Returns what differs where a file is another one, or has changed."""
    stat = path.stat()
    return {
        "path": str(path.resolve()),
        "size": stat.st_size,
        "mtime_ns": stat.st_mtime_ns,
        "ctime_ns": stat.st_ctime_ns,
        "device": stat.st_dev,
        "inode": stat.st_ino,
    }


def _read(note: Path) -> Any:
    try:
        return read_json(note)
    except (OSError, UserError):  # not there, or torn: the file is read again
        return None
