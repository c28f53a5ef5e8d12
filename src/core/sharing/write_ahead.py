"""SQLite files whose readers do not wait for a writer, opened by several processes."""

import sqlite3
import time

LATER = 0.01  # seconds until it is tried again


def write_ahead(db: sqlite3.Connection, seconds: float) -> None:
    """Puts a database into write-ahead mode, and makes what is committed outlive a power failure.

    SQLite's own waiting (`timeout`) does not cover this step: of two connections that take it at once, or of one that
    meets a writer, one is told at once that the database is locked. So it is tried again here.

    Args:
        db: Outside of a transaction.
        seconds: How long it is tried.

    Raises:
        sqlite3.OperationalError: Another connection held the database all the while; or it cannot be written.
    """
    end = time.monotonic() + seconds
    while True:
        try:
            db.execute("PRAGMA journal_mode=WAL")
            break
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > end:
                raise
            time.sleep(LATER)
    db.execute("PRAGMA synchronous=FULL")
