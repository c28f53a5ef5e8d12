import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy.exc import SQLAlchemyError

from src.core.errors import UserError
from src.core.paths import ROOT
from src.serve.events import Event, Events


@pytest.fixture
def address(tmp_path) -> str:
    return f"sqlite:///{tmp_path / 'events.db'}"


@pytest.fixture
def events(address):
    found = Events(address)
    yield found
    found.close()


def test_items_come_by_time_and_of_the_same_time_as_they_were_stored(events):
    events.add([Event("u", "c", 3.5), Event("u", "a", 1.0), Event("v", "x", 2.0), Event("u", "b2", 2.0)])
    events.add([Event("u", "b1", 2.0), Event("u", "a", 1.0), Event("u", "c", 2.5)])
    assert events.of(["u", "v"]) == {"u": ["a", "a", "b2", "b1", "c", "c"], "v": ["x"]}
    assert events.of(["v", "nobody", "v"]) == {"v": ["x"]}
    assert len(events) == 7


def test_many_at_once_keep_their_order(events):
    draw, expected = random.Random(0), {}
    told = [Event(f"u{draw.randrange(5)}", str(number), draw.choice([1.0, 2.0])) for number in range(1000)]
    events.add(told)
    for each in sorted(told, key=lambda each: each.time):
        expected.setdefault(each.user, []).append(each.item)
    assert events.of([f"u{number}" for number in range(5)]) == expected


def test_an_event_without_a_time_is_of_now(events):
    past, future = time.time() - 60, time.time() + 60
    events.add([Event("u", "later", future), Event("u", "now"), Event("u", "now, too"), Event("u", "earlier", past)])
    assert events.of(["u"])["u"] == ["earlier", "now", "now, too", "later"]


@pytest.mark.parametrize("odd", ["羅生門 ½", "a'; DROP TABLE events; --", "a/b?c", "%", "_", "NULL", " a "])
def test_ids_are_stored_as_they_are(events, odd):
    events.add([Event(odd, odd), Event("u", "a")])
    assert events.of([odd]) == {odd: [odd]}
    assert events.of(["A", "null", "u%"]) == {}


def test_of_several_events_all_are_stored_or_none(events):
    events.add([Event("u", "a")])
    with pytest.raises(SQLAlchemyError):
        events.add([Event("u", "b"), Event("u", None)])
    assert events.of(["u"]) == {"u": ["a"]} and len(events) == 1


def test_what_was_stored_is_there_the_next_time(events, address):
    events.add([Event("u", "a", 1.0)])
    events.close()
    again = Events(address)
    again.add([Event("u", "b", 2.0)])
    assert again.of(["u"]) == {"u": ["a", "b"]}
    again.close()


def test_a_commit_waits_for_the_disk(events, address, tmp_path):
    """The settings with which SQLite loses nothing when the power fails; of each connection, not of the first alone."""

    def look() -> None:
        with events._engine.connect() as connection:
            found.append(
                [connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in ("synchronous", "journal_mode")]
            )

    found: list[list] = []
    threads = [threading.Thread(target=look) for _ in range(3)]
    for thread in threads:
        thread.start()
        thread.join()
    assert found == [[2, "wal"]] * 3


def test_readers_do_not_wait_for_a_writer(events, tmp_path):
    events.add([Event("u", "a")])
    writer = sqlite3.connect(tmp_path / "events.db", isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    writer.execute("""INSERT INTO events ("user", item, time) VALUES ('u', 'b', 1)""")
    assert events.of(["u"]) == {"u": ["a"]}
    writer.execute("COMMIT")
    writer.close()
    assert events.of(["u"]) == {"u": ["b", "a"]}


def test_several_threads_may_write_and_read(events):
    failed: list[Exception] = []

    def write(user: str) -> None:
        try:
            for number in range(20):
                events.add([Event(user, str(number), 1.0)])
                assert events.of([user])[user] == [str(each) for each in range(number + 1)]
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=write, args=(f"u{number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == [] and len(events) == 80


ADDS = """
import sys
from src.serve.events import Event, Events

events = Events(sys.argv[1])
for number in range(1_000_000):
    events.add([Event("u", f"{number}a", 1.0), Event("u", f"{number}b", 1.0)])
    print(number, flush=True)
"""


def test_what_was_acknowledged_outlives_a_kill(address):
    """Killed again and again at random moments: of what it had told nothing is lost, and nothing is there by half."""
    draw, told = random.Random(0), 0
    for _ in range(4):
        process = subprocess.Popen([sys.executable, "-c", ADDS, address], cwd=ROOT, stdout=subprocess.PIPE, text=True)
        acknowledged = 0
        for line in process.stdout:
            acknowledged = int(line) + 1
            if acknowledged == 5:
                threading.Timer(draw.uniform(0, 0.05), process.send_signal, [signal.SIGKILL]).start()
        assert process.wait() == -signal.SIGKILL
        told += acknowledged
        events = Events(address)
        found = events.of(["u"])["u"]
        events.close()
        pairs = list(zip(found[::2], found[1::2], strict=True))
        assert all(one[:-1] == other[:-1] and one[-1] + other[-1] == "ab" for one, other in pairs)
        assert told <= len(pairs) <= told + 1  # one more that was on the disk and not yet told
        assert acknowledged >= 5
        told = len(pairs)


WRONG = {
    "foo://user:secret@host/db": "Can't load plugin",
    "postgresql://user:secret@127.0.0.1:1/db": "refused",
    "postgresql://user:secret@127.0.0.1:port/db": "'port'",
    "postgresql://127.0.0.1:1/db?user=u&password=secret": "refused",
    "sqlite:////nowhere/at/all/events.db": "unable to open database file",
    "nothing": "Could not parse",
    "sqlite://": "names no file",
    "sqlite:///:memory:": "names no file",
}


@pytest.mark.parametrize("address", WRONG)
def test_an_unusable_database_is_told_without_a_password(address):
    with pytest.raises(UserError, match=r"^server\.events=.*\.$") as told:
        Events(address)
    assert WRONG[address] in str(told.value) and "\n" not in str(told.value)
    assert "secret" not in str(told.value)


def test_without_a_driver_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(UserError, match=r"^server\.events=postgresql://…@h/db needs a driver .*pip install .*\.$"):
        Events("postgresql://user:secret@h/db")


def test_a_file_that_is_no_database_is_refused(tmp_path):
    (tmp_path / "events.db").write_text("something else" * 100)
    with pytest.raises(UserError, match=r"events\.db cannot be used \(.*file is not a database"):
        Events(f"sqlite:///{tmp_path / 'events.db'}")


def test_several_that_begin_at_once_make_one_table(tmp_path):
    for attempt in range(10):
        together = threading.Barrier(4)

        def begin(address: str, together: threading.Barrier = together) -> None:
            together.wait()
            Events(address).close()

        with ThreadPoolExecutor(4) as threads:
            list(threads.map(begin, [f"sqlite:///{tmp_path / str(attempt)}.db"] * 4))


def test_one_that_begins_waits_for_one_that_writes(tmp_path):
    other = sqlite3.connect(tmp_path / "events.db", isolation_level=None, check_same_thread=False)
    other.execute("CREATE TABLE other (value)")
    other.execute("BEGIN IMMEDIATE")
    threading.Timer(0.3, other.execute, ("COMMIT",)).start()
    events = Events(f"sqlite:///{tmp_path / 'events.db'}")
    events.add([Event("u", "i", 1.0)])
    assert len(events) == 1
    events.close()
    other.close()
