import sqlite3
import threading

import pytest

from src.core.sharing.write_ahead import write_ahead


@pytest.fixture
def writer(tmp_path):
    """Another connection, in the midst of writing."""
    db = sqlite3.connect(tmp_path / "some.db", isolation_level=None, check_same_thread=False)
    db.execute("CREATE TABLE some (value)")
    db.execute("BEGIN IMMEDIATE")
    yield db
    db.close()


def test_a_database_is_put_into_write_ahead_mode(tmp_path):
    db = sqlite3.connect(tmp_path / "some.db")
    write_ahead(db, 0)
    assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert db.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL


def test_it_waits_for_one_that_writes(tmp_path, writer):
    db = sqlite3.connect(tmp_path / "some.db")
    with pytest.raises(sqlite3.OperationalError, match="locked"):  # SQLite alone does not, whatever its timeout
        db.execute("PRAGMA journal_mode=WAL")
    threading.Timer(0.3, writer.execute, ("COMMIT",)).start()
    write_ahead(db, 60)
    assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_it_does_not_wait_for_ever(tmp_path, writer):
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        write_ahead(sqlite3.connect(tmp_path / "some.db"), 0.1)
