"""What users did since the log ended, kept in a database: SQLite in a file, or PostgreSQL."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import (
    URL,
    BigInteger,
    Column,
    Float,
    Integer,
    MetaData,
    String,
    Table,
    bindparam,
    create_engine,
    event,
    func,
    make_url,
    select,
)
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.schema import CreateIndex, CreateTable

from ..core.errors import UserError
from ..core.sharing.write_ahead import write_ahead

BUSY_SECONDS = 5.0  # that a connection waits for another one's writing

TABLE = Table(
    "events",
    MetaData(),
    # in the order in which they were stored; SQLite numbers rows by itself in an Integer alone
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("user", String, nullable=False, index=True),
    Column("item", String, nullable=False),
    Column("time", Float, nullable=False),  # seconds since 1970
)
IN_ORDER = (TABLE.c.time, TABLE.c.id)
EVERY = select(TABLE.c.user, TABLE.c.item, TABLE.c.time).order_by(*IN_ORDER)
OF_USERS = (
    select(TABLE.c.user, TABLE.c.item).where(TABLE.c.user.in_(bindparam("users", expanding=True))).order_by(*IN_ORDER)
)


@dataclass(frozen=True)
class Event:
    """A user took an item.

    user, item: Raw ids.
    time: Seconds since 1970; None: now.
    """

    user: str
    item: str
    time: float | None = None


class Events:
    """A store of events. What `add` has returned from outlives a crash of the process and of the machine.

    Args:
        address: Of the database, such as `sqlite:///events.db`; its table is made where there is none.
        make: Whether a file of SQLite's is made where there is none.

    Raises:
        UserError: There is no such database, or it is one in memory.
    """

    def __init__(self, address: str, make: bool = True) -> None:
        try:
            self._engine = create_engine(with_driver(address))
            if self._engine.dialect.name == "sqlite":
                if self._engine.url.database in (None, "", ":memory:"):
                    raise UserError(f"server.events={_safe(address)} names no file: sqlite:///<path>.")
                if not make and not Path(self._engine.url.database or "").is_file():
                    raise UserError(f"server.events={_safe(address)} is not there: name the file of the service.")
                event.listen(self._engine, "connect", _durable)
            with self._engine.begin() as connection:  # of two at once neither finds that the other has just made it
                connection.execute(CreateTable(TABLE, if_not_exists=True))
                for index in TABLE.indexes:
                    connection.execute(CreateIndex(index, if_not_exists=True))
            self._reading = self._engine.execution_options(isolation_level="AUTOCOMMIT")  # no BEGIN, no ROLLBACK
        except ImportError as error:
            raise UserError(
                f"server.events={_safe(address)} needs a driver that is not installed ({_first_line(error)}): install "
                "it, for postgresql:// with `pip install 'psycopg[binary]'`."
            ) from None
        except (SQLAlchemyError, ValueError) as error:  # no dialect of that name; a port that is no number
            raise UserError(f"server.events={_safe(address)} cannot be used ({_first_line(error)}).") from None

    def add(self, events: Sequence[Event]) -> None:
        """Stores events, at least one, all or none, in their order."""
        now = time.time()
        rows = [
            {"user": each.user, "item": each.item, "time": now if each.time is None else each.time} for each in events
        ]
        with self._engine.begin() as connection:
            connection.execute(TABLE.insert(), rows)

    def of(self, users: Sequence[str]) -> dict[str, list[str]]:
        """Returns the items of some users' events, oldest first; by time, and of the same time as they were stored."""
        found: dict[str, list[str]] = {}
        with self._reading.connect() as connection:
            for user, item in connection.execute(OF_USERS, {"users": users}):
                found.setdefault(user, []).append(item)
        return found

    def all(self) -> list[Event]:
        """Returns every event, oldest first, as `of` orders them."""
        with self._reading.connect() as connection:
            return [Event(*row) for row in connection.execute(EVERY)]

    def __len__(self) -> int:
        with self._engine.connect() as connection:
            return connection.execute(select(func.count()).select_from(TABLE)).scalar_one()

    def close(self) -> None:
        """Closes all connections."""
        self._engine.dispose()


def with_driver(address: str) -> URL:
    """Returns an address whose `postgresql://` means psycopg (3), which to SQLAlchemy before 2.1 is psycopg2."""
    url = make_url(address)
    return url.set(drivername="postgresql+psycopg") if url.drivername == "postgresql" else url


def _durable(connection, record) -> None:  # type: ignore[no-untyped-def]  # SQLAlchemy's own classes
    """Readers do not wait for a writer, and what is committed is on the disk."""
    write_ahead(connection, BUSY_SECONDS)


def _safe(address: str) -> str:
    """Returns an address without a password: neither before the host nor in the query."""
    address = address.partition("?")[0]
    return address if "@" not in address else f"{address.partition('://')[0]}://…@{address.rpartition('@')[2]}"


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
