"""Answers that were paid for, in SQLite, by what decides them: no process asks for one that is there or on its way."""

import os
import sqlite3
import threading
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

from filelock import FileLock, Timeout
from typing_extensions import Self

from ...core.errors import UserError
from ...core.sharing.write_ahead import write_ahead

FORMAT = 1
BUSY_SECONDS = 60.0  # that a process waits for another one's writing
TABLES = (
    "CREATE TABLE IF NOT EXISTS answers (request TEXT PRIMARY KEY, model TEXT NOT NULL, text TEXT NOT NULL, "
    "prompt_tokens INTEGER NOT NULL, completion_tokens INTEGER NOT NULL) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS sent (id INTEGER PRIMARY KEY, request TEXT NOT NULL, owner TEXT NOT NULL, "
    "prompt_tokens INTEGER NOT NULL, completion_tokens INTEGER NOT NULL)",
    "CREATE INDEX IF NOT EXISTS sent_request ON sent (request)",
)
LOST = ""  # the owner of what was sent and never answered


class Usage(NamedTuple):
    """Tokens.

    prompt: That the model read.
    completion: That it wrote.
    """

    prompt: int = 0
    completion: int = 0

    @property
    def tokens(self) -> int:
        return self.prompt + self.completion

    def plus(self, other: "Usage") -> "Usage":
        return Usage(self.prompt + other.prompt, self.completion + other.completion)

    def minus(self, other: "Usage") -> "Usage":
        return Usage(self.prompt - other.prompt, self.completion - other.completion)


@dataclass(frozen=True)
class Answer:
    """What a model said, word for word, and what that took."""

    text: str
    usage: Usage


class Answers(Protocol):
    """See `AnswerStore`."""

    def find(self, request: str) -> Answer | None: ...

    def lost(self, request: str) -> Usage: ...


class NoAnswers:
    """What there is where nothing was asked yet."""

    def find(self, request: str) -> Answer | None:
        return None

    def lost(self, request: str) -> Usage:
        return Usage()


class AnswerStore:
    """Answers of any number of processes of one machine, used by any number of threads.

    A request is `claim`ed before it is sent. A claim ends with an answer (`keep`), with the endpoint's word that it
    does nothing (`release`), or without either (`lose`): the process was killed or the connection cut, and the
    endpoint may have worked all the same, so that what it may have taken stays counted.

    Args:
        path: The file; made where there is none.

    Raises:
        UserError: It is no such file, is damaged or cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path, self._turn = path, threading.Lock()
        self.owner = f"{os.getpid()}-{uuid.uuid4().hex[:12]}"
        self._alive = FileLock(self._lock_of(self.owner))  # taken by the system from a process that ends, however
        with ExitStack() as undone:
            with self._told():
                path.parent.mkdir(parents=True, exist_ok=True)
                self._alive.acquire()
                undone.callback(self._let_go)
                self._db = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
                undone.callback(self._db.close)
            self._begin()
            self._at_the_end = undone.pop_all()

    def _begin(self) -> None:
        with self._told():
            write_ahead(self._db, BUSY_SECONDS)
            (found,) = self._db.execute("PRAGMA user_version").fetchone()
        if found not in (0, FORMAT):
            raise UserError(f"{self.path} has format {found}, not {FORMAT}: name another file in teacher.api.answers.")
        with self._writing() as db:
            for statement in TABLES:
                db.execute(statement)
            db.execute(f"PRAGMA user_version={FORMAT}")
            for (owner,) in db.execute("SELECT DISTINCT owner FROM sent WHERE owner <> ?", (LOST,)).fetchall():
                self._lose_if_dead(owner)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._at_the_end.close()

    def _let_go(self) -> None:
        self._alive.release()
        self._lock_of(self.owner).unlink(missing_ok=True)

    def find(self, request: str) -> Answer | None:
        """Returns the answer to a request, told by its digest; None where there is none yet."""
        with self._turn, self._told():
            rows = self._db.execute(
                "SELECT text, prompt_tokens, completion_tokens FROM answers WHERE request = ?", (request,)
            )
            found = rows.fetchone()
        return None if found is None else Answer(found[0], Usage(found[1], found[2]))

    def lost(self, request: str) -> Usage:
        """Returns what those sendings of a request may have taken that were never answered."""
        with self._turn, self._told():
            rows = self._db.execute(
                "SELECT total(prompt_tokens), total(completion_tokens) FROM sent WHERE request = ? AND owner = ?",
                (request, LOST),
            )
            prompt, completion = rows.fetchone()
        return Usage(int(prompt), int(completion))

    def claim(self, request: str, most: Usage) -> int | None:
        """Returns the number of a claim to send a request; None where it is answered, or another is at it.

        Args:
            request: Its digest.
            most: What it may take.
        """
        with self._writing() as db:
            if db.execute("SELECT 1 FROM answers WHERE request = ?", (request,)).fetchone():
                return None
            others = db.execute("SELECT owner FROM sent WHERE request = ? AND owner <> ?", (request, LOST)).fetchall()
            for (owner,) in others:
                if owner == self.owner or not self._lose_if_dead(owner):
                    return None
            row = (request, self.owner, most.prompt, most.completion)
            return db.execute(
                "INSERT INTO sent (request, owner, prompt_tokens, completion_tokens) VALUES (?, ?, ?, ?)", row
            ).lastrowid

    def keep(self, claim: int, request: str, model: str, answer: Answer) -> None:
        """Ends a claim with its answer."""
        with self._writing() as db:
            row = (request, model, answer.text, *answer.usage)
            db.execute("INSERT INTO answers VALUES (?, ?, ?, ?, ?)", row)
            db.execute("DELETE FROM sent WHERE id = ?", (claim,))

    def release(self, claim: int) -> None:
        """Ends the claim of a request that the endpoint did not work on."""
        with self._writing() as db:
            db.execute("DELETE FROM sent WHERE id = ?", (claim,))

    def lose(self, claim: int) -> None:
        """Ends the claim of a request of which nobody knows whether the endpoint worked on it."""
        with self._writing() as db:
            db.execute("UPDATE sent SET owner = ? WHERE id = ?", (LOST, claim))

    def _lock_of(self, owner: str) -> Path:
        return self.path.with_name(f".{self.path.name}.{owner}.lock")

    def _lose_if_dead(self, owner: str) -> bool:
        """Ends the claims of a process that was killed; returns whether it was."""
        lock = FileLock(self._lock_of(owner))
        try:
            lock.acquire(timeout=0)
        except Timeout:
            return False
        self._db.execute("UPDATE sent SET owner = ? WHERE owner = ?", (LOST, owner))
        lock.release()
        self._lock_of(owner).unlink(missing_ok=True)
        return True

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """Yields the connection within a transaction that no other process reads or writes beside."""
        with self._turn, self._told():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise UserError(
                f"{self.path} cannot be used as the store of answers ({error}): mend it, or name another file in "
                "teacher.api.answers."
            ) from None
