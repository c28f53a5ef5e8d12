"""Asks an endpoint to rank candidates: what is answered is read, what is not is sent, by several threads at once."""

import logging
import random
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from ...core.errors import UserError
from ...core.progress import Advance, progress
from .answer_store import Answer, Answers, AnswerStore, Usage
from .budget import Budget, told
from .endpoint import Request, UnansweredError
from .question import asked_again, ranking_in
from .settings import ApiSettings

FIRST_WAIT, LONGEST_WAIT = 0.5, 60.0  # seconds before a request is sent again, doubled each time
LONGEST_ASKED = 600.0  # seconds that an endpoint may ask to wait for
POLL = 0.05  # seconds between looks at what another process asks
FIRST = 20  # questions of which one at least must have a ranking

log = logging.getLogger(__name__)


class Questions(Protocol):
    """Texts, each made where it is asked for, all over the same number of candidates."""

    @property
    def candidates(self) -> int: ...

    def __len__(self) -> int: ...

    def __getitem__(self, row: int) -> str: ...


class Asks(Protocol):
    """See `endpoint.Endpoint.ask`."""

    def ask(self, request: Request) -> Answer: ...


class Dialogue(NamedTuple):
    """How far a question has come.

    ranking: Places of the candidates, best first; None where there is none (yet).
    next: What is to be sent next; None: nothing, it is ranked or refused.
    usage: What its answers took, and what was sent and never answered.
    last: The last answer.
    """

    ranking: list[int] | None
    next: Request | None
    usage: Usage
    last: str = ""


@dataclass(frozen=True)
class Rankings:
    """What came of the questions.

    places: Of each question's candidates, best first; of a refused one 0, 1, 2, …
    refused: How many questions have no ranking.
    as_shown: How many rankings leave the candidates as they were shown.
    distinct: How many questions differ: alike ones are asked once.
    usage: What all of it took, now and before.
    """

    places: list[list[int]]
    refused: int
    as_shown: int
    distinct: int
    usage: Usage


def follow(text: str, candidates: int, settings: ApiSettings, store: Answers) -> Dialogue:
    """Returns how far a question has come, by the answers that are there."""
    usage, said, asked = Usage(), "", text
    for _ in range(settings.retries + 1):
        request = Request(settings, asked, candidates)
        usage, answer = usage.plus(store.lost(request.digest)), store.find(request.digest)
        if answer is None:
            return Dialogue(None, request, usage)
        usage, said = usage.plus(answer.usage), answer.text
        ranking = ranking_in(said, candidates, settings.answer)
        if ranking is not None:
            return Dialogue(ranking, None, usage, said)
        asked = asked_again(asked, said)
    return Dialogue(None, None, usage, said)


def distinct(questions: Questions, settings: ApiSettings) -> dict[str, list[int]]:
    """Returns the rows of each question that differs from all others, by the digest of its request."""
    rows: dict[str, list[int]] = {}
    for row in range(len(questions)):
        rows.setdefault(Request(settings, questions[row], questions.candidates).digest, []).append(row)
    return rows


def rank_all(questions: Questions, settings: ApiSettings, store: AnswerStore, endpoint: Asks, title: str) -> Rankings:
    """Returns the rankings of all questions; asks for those that are not there.

    Args:
        questions: What is asked.
        settings: How, and what it may take.
        store: Where answers are, and are kept.
        endpoint: Who is asked.
        title: What progress calls it.

    Raises:
        UserError: The budget does not suffice, the endpoint does not answer, or too many answers are no rankings. All
            that was answered is kept: the same questions go on from there.
    """
    rows = distinct(questions, settings)
    interview = _Interview(questions, list(rows.values()), settings, store, endpoint)
    with progress(title, len(questions)) as advance:
        interview.go(advance)
    places: list[list[int]] = [[]] * len(questions)
    refused = as_shown = 0
    in_order, usage = list(range(questions.candidates)), Usage()
    for alike in rows.values():
        found = follow(questions[alike[0]], questions.candidates, settings, store)
        usage = usage.plus(found.usage)
        refused += len(alike) * (found.ranking is None)
        as_shown += len(alike) * (found.ranking == in_order)
        for row in alike:
            places[row] = found.ranking or in_order
    return Rankings(places, refused, as_shown, len(rows), usage)


class _Interview:
    """Questions shared by threads, until all are ranked or refused."""

    def __init__(
        self,
        questions: Questions,
        rows: Sequence[list[int]],
        settings: ApiSettings,
        store: AnswerStore,
        endpoint: Asks,
    ) -> None:
        self.questions, self.settings, self.store, self.endpoint = questions, settings, store, endpoint
        self.rows, self.left = rows, deque[list[int]]()
        self.done = self.refused = self.answered = 0
        self.pause_until = 0.0
        self.ended, self.turn = threading.Event(), threading.Lock()

    def go(self, advance: Advance) -> None:
        """Asks until nothing is left, or something ends it: then requests under way are waited for and kept."""
        self.advance = advance
        self.budget = Budget(self.settings, self._there(), self._how_far)
        if not self.left:
            return
        log.info(
            "%s for %s; %s at %s is asked the others",
            self._how_far(),
            told(self.settings, self.budget.spent),
            self.settings.model,
            self.settings.base_url,
        )
        at_once = min(self.settings.concurrency, len(self.left))
        with ThreadPoolExecutor(at_once) as threads:
            working = [threads.submit(self._work) for _ in range(at_once)]
            try:
                for each in as_completed(working):
                    each.result()
            finally:
                self.ended.set()

    def _how_far(self) -> str:
        return f"{self.done:,} of {len(self.questions):,} questions are answered"

    def _there(self) -> Usage:
        """Reads what is answered; returns what that took."""
        spent = Usage()
        for alike in self.rows:
            found = self._follow(alike)
            spent = spent.plus(found.usage)
            if found.next is None:
                self._note(alike, found, "already there")
            else:
                self.left.append(alike)
        return spent

    def _work(self) -> None:
        while not self.ended.is_set():
            try:
                alike = self.left.popleft()
            except IndexError:
                return
            found = self._follow(alike)
            while found.next is not None and self._send(found.next):
                found = self._follow(alike)
            if found.next is None:
                self._note(alike, found)
            elif not self.ended.is_set():
                self.left.append(alike)  # another process is at it
                self.ended.wait(POLL)

    def _send(self, request: Request) -> bool:
        """Sends a request until it is answered, by whomever; returns False where another process sends it just now, or
        the interview has ended.

        Raises:
            UserError: The budget does not suffice, or the endpoint does not answer.
        """
        failures, answered = 0, self.answered
        while True:
            if self.ended.wait(max(0.0, self.pause_until - time.monotonic())):
                return False
            try:
                return self._send_once(request)
            except UnansweredError as failure:
                # a limit that has let others through is no reason to give up
                failures += failure.wait is None or self.answered == answered
                answered = self.answered
                self._wait(failure, failures)

    def _send_once(self, request: Request) -> bool:
        """See `_send`.

        Raises:
            UnansweredError: There is no answer.
            UserError: The budget does not suffice.
        """
        if not self.budget.reserve(request.most, self.ended):
            return False
        claim = self.store.claim(request.digest, request.most)
        if claim is None:
            self.budget.settle(request.most, Usage())
            return self.store.find(request.digest) is not None
        taken = request.most
        try:
            answer = self.endpoint.ask(request)
            self.store.keep(claim, request.digest, str(self.settings.model), answer)
            taken = answer.usage
        except UnansweredError as failure:
            if failure.billed:
                self.store.lose(claim)
            else:
                self.store.release(claim)
                taken = Usage()
            raise
        finally:
            self.budget.settle(request.most, taken)
        with self.turn:
            self.answered += 1
        return True

    def _wait(self, failure: UnansweredError, failures: int) -> None:
        """Puts off what is sent next: all of it where the endpoint asks for that, else this request.

        Raises:
            UserError: There is no sense in waiting.
        """
        where, later = self.settings.base_url, "start the same command again, and it goes on"
        if not failure.again:
            raise UserError(f"{where} refuses a request to {self.settings.model} ({failure.why}): mend teacher.api.")
        if failures == self.settings.attempts:
            raise UserError(f"{where} gave no answer, asked {failures} times ({failure.why}): see to it, then {later}.")
        if failure.wait is not None and failure.wait > LONGEST_ASKED:
            raise UserError(f"{where} asks to wait {failure.wait:,.0f} s ({failure.why}): then {later}.")
        log.debug("sent again: %s", failure.why)
        if failure.wait is not None:
            self.pause_until = max(self.pause_until, time.monotonic() + failure.wait)
        else:
            longest = min(LONGEST_WAIT, FIRST_WAIT * 2 ** (failures - 1))
            self.ended.wait(longest * random.uniform(0.75, 1.0))  # not all at once again

    def _follow(self, alike: list[int]) -> Dialogue:
        return follow(self.questions[alike[0]], self.questions.candidates, self.settings, self.store)

    def _note(self, alike: list[int], found: Dialogue, note: str = "") -> None:
        """Counts what is ranked or refused.

        Raises:
            UserError: More is refused than may be.
        """
        with self.turn:
            self.done += len(alike)
            self.refused += len(alike) * (found.ranking is None)
            self.advance(len(alike), note or (f"{self.refused} refused" if self.refused else ""))
            share = self.settings.max_refused
            if self.refused > share * len(self.questions) or (self.refused == self.done >= FIRST and share < 1):
                raise UserError(
                    f"{self.refused} of {self.done} questions have no ranking, of {len(self.questions):,} in all "
                    f"(teacher.api.max_refused={share:g}); the last answer was {found.last[:80]!r}: name another "
                    "model, another teacher.api.answer, or allow more."
                )


def unanswered(questions: Questions, settings: ApiSettings, store: Answers) -> Iterator[Request]:
    """Yields what is to be sent next of each question that is neither ranked nor refused."""
    for alike in distinct(questions, settings).values():
        request = follow(questions[alike[0]], questions.candidates, settings, store).next
        if request is not None:
            yield request
