import asyncio
import json
from typing import Any

import pytest
from prometheus_client import generate_latest

from src.serve.http.limits import MOST_CLIENTS, Limits, Rates
from src.serve.http.observation import Observation

MOST, TIMEOUT = 10, 0.05


class Echo:
    """An application that answers with the body it was given; or raises what a test says."""

    def __init__(self, fault: Exception | None = None) -> None:
        self.fault, self.bodies, self.scopes = fault, [], []

    async def __call__(self, scope, receive, send) -> None:
        self.scopes.append(scope["type"])
        if scope["type"] != "http":
            return
        message = await receive()
        assert message["type"] == "http.request" and not message["more_body"]
        self.bodies.append(message["body"])
        if self.fault is not None:
            raise self.fault
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": message["body"]})
        assert (await receive())["type"] == "http.disconnect"


class Asked:
    """One request.

    Args:
        parts: Of its body; None: nothing comes for a minute.
        whole: Whether that is all of it; else the client goes in between.

    `read` counts the parts that were taken.
    """

    def __init__(
        self,
        *parts: bytes | None,
        path: str = "/recommend",
        client: str = "1.2.3.4",
        whole: bool = True,
        **headers: str,
    ) -> None:
        self.parts, self.whole, self.read, self.sent = list(parts) or [b""], whole, 0, []
        told = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
        self.scope = {"type": "http", "path": path, "headers": told, "client": (client, 1)}

    async def receive(self) -> dict[str, Any]:
        if self.read == len(self.parts):
            return {"type": "http.disconnect"}
        part = self.parts[self.read]
        self.read += 1
        if part is None:
            await asyncio.sleep(60)
        return {"type": "http.request", "body": part, "more_body": not self.whole or self.read < len(self.parts)}

    async def send(self, message: dict[str, Any]) -> None:
        self.sent.append(message)

    def of(self, limits: Limits) -> tuple[int, Any]:
        """Returns status and answer."""
        asyncio.run(limits(self.scope, self.receive, self.send))
        start, *bodies = self.sent
        return start["status"], b"".join(each["body"] for each in bodies)

    @property
    def headers(self) -> dict[str, str]:
        return {name.decode(): value.decode() for name, value in self.sent[0]["headers"]}


def limits(app: Echo | None = None, api_key=None, per_second=None, observation=None, timeout=60.0) -> Limits:
    return Limits(app or Echo(), observation or Observation(), MOST, timeout, api_key, per_second)


def refused(asked: Asked, of: Limits) -> tuple[int, str]:
    """Returns the status and the sentence; the answer is as long as it says, and JSON."""
    status, body = asked.of(of)
    assert asked.headers["content-length"] == str(len(body)) and asked.headers["content-type"] == "application/json"
    return status, json.loads(body)["detail"]


# --- the key


@pytest.mark.parametrize("headers", [{}, {"x_api_key": ""}, {"x_api_key": "secret "}, {"x_api_key": "Secret"}])
def test_without_the_key_nothing_is_answered(headers):
    app = Echo()
    asked = Asked(b"a", **headers)
    assert refused(asked, limits(app, api_key="secret")) == (401, "The header X-API-Key does not hold the key.")
    assert app.bodies == [] and asked.read == 0


@pytest.mark.parametrize("key", ["secret", "Schlüssel"])
def test_with_the_key_or_where_there_is_none_it_is_answered(key):
    assert Asked(b"a", x_api_key=key).of(limits(api_key=key)) == (200, b"a")
    assert Asked(b"a", x_api_key="any").of(limits()) == (200, b"a")
    assert Asked(b"a").of(limits()) == (200, b"a")


@pytest.mark.parametrize("path", ["/health", "/ready"])
def test_what_keeps_the_service_alive_asks_without_a_key_and_however_often(path):
    of = limits(api_key="secret", per_second=0.001)
    assert [Asked(path=path).of(of)[0] for _ in range(5)] == [200] * 5
    assert Asked(path=f"{path}/x").of(of)[0] == 401


# --- how much


@pytest.mark.parametrize("parts", [[b"0123456789"], [b"01234", b"56789"], [b"", b"0123456789", b""], [b""]])
def test_the_application_gets_a_whole_body_up_to_the_limit(parts):
    app = Echo()
    assert Asked(*parts).of(limits(app)) == (200, b"".join(parts))
    assert app.bodies == [b"".join(parts)]


@pytest.mark.parametrize("parts", [[b"0123456789!"], [b"01234", b"56789", b"!", b"never read", b"x"]])
def test_a_larger_body_is_refused_as_soon_as_it_is(parts):
    app, asked = Echo(), Asked(*parts)
    assert refused(asked, limits(app)) == (413, "A request may hold 10 bytes.")
    assert app.bodies == [] and asked.read == min(3, len(parts)) and asked.headers["connection"] == "close"


def test_a_body_that_says_it_is_larger_is_not_read():
    asked = Asked(b"a", content_length="11")
    assert refused(asked, limits())[0] == 413 and asked.read == 0
    assert Asked(b"0123456789", content_length="10").of(limits())[0] == 200
    assert refused(Asked(b"0123456789!", content_length="1"), limits())[0] == 413


# --- how slowly


@pytest.mark.parametrize("parts", [[None], [b"0", None], [b"0", b"1", b"2", None, b"3"]])
def test_a_body_that_does_not_come_is_refused(parts):
    app, asked = Echo(), Asked(*parts)
    assert refused(asked, limits(app, timeout=TIMEOUT)) == (408, "The request did not come in time.")
    assert app.bodies == [] and asked.headers["connection"] == "close"


def test_of_a_client_that_goes_the_application_hears_nothing():
    app = Echo()
    assert refused(Asked(b"0", b"1", whole=False), limits(app)) == (400, "The client has gone.")
    assert app.bodies == []


@pytest.mark.parametrize("fault", [TimeoutError("of a database"), ValueError("of ours")])
def test_a_fault_of_the_application_is_not_said_to_be_the_clients(fault):
    seen, asked = Observation(), Asked(b"a")
    with pytest.raises(type(fault)):
        asyncio.run(limits(Echo(fault), observation=seen)(asked.scope, asked.receive, asked.send))
    assert asked.sent == []
    assert 'anyo_answers_total{path="other",status="500"} 1.0' in generate_latest(seen.registry).decode()


# --- how often


@pytest.fixture
def clock(monkeypatch):
    """A clock that a test sets."""
    now = [1000.0]
    monkeypatch.setattr("src.serve.http.limits.time.monotonic", lambda: now[0])
    return now


@pytest.mark.parametrize("per_second", [0.1, 0.4, 1.0, 3.0, 10.0])
def test_twice_as_many_at_once_then_as_many_as_the_rate_allows(clock, per_second):
    rates, at_once = Rates(per_second), max(1, int(2 * per_second))
    waits = [rates.wait("a") for _ in range(at_once + 1)]
    assert waits == [0.0] * at_once + [pytest.approx(1 / per_second)]
    clock[0] += 0.99 * waits[-1]
    assert rates.wait("a") == pytest.approx(0.01 * waits[-1])
    clock[0] += 0.02 * waits[-1]
    assert rates.wait("a") == 0.0 < rates.wait("a")
    clock[0] += 1_000_000
    assert [rates.wait("a") for _ in range(at_once + 1)][:-1] == [0.0] * at_once
    assert rates.wait("a") > 0


def test_over_a_long_time_the_rate_is_kept_however_often_one_asks(clock):
    rates, allowed = Rates(4.0), 0
    for _ in range(10_000):
        clock[0] += 0.01
        allowed += rates.wait("a") == 0.0
    assert allowed == pytest.approx(4.0 * 100 + 8, abs=1)


def test_each_client_has_a_rate_of_its_own_and_not_all_are_remembered(clock):
    rates = Rates(0.5)
    assert rates.wait("a") == rates.wait("b") == 0.0 < rates.wait("a")
    for client in range(MOST_CLIENTS - 1):
        rates.wait(str(client))
    assert len(rates.buckets) == MOST_CLIENTS
    assert rates.wait("b") == 0.0  # b has been away for longest, and is new again
    assert rates.wait("b") > 0.0


@pytest.mark.parametrize("per_second", [0.1, 0.4, 0.7, 1.0, 3.0])
def test_who_waits_as_long_as_is_told_is_answered(clock, per_second):
    of = limits(per_second=per_second)
    while (asked := Asked(b"a")).of(of)[0] == 200:
        pass
    assert asked.sent[0]["status"] == 429 and json.loads(asked.sent[1]["body"])["detail"] == "Too many requests."
    assert Asked(b"a", client="5.6.7.8").of(of)[0] == 200
    clock[0] += int(asked.headers["retry-after"])
    assert Asked(b"a").of(of)[0] == 200


def test_who_has_no_key_does_not_use_up_the_rate(clock):
    of = limits(api_key="secret", per_second=0.5)
    assert [Asked().of(of)[0] for _ in range(3)] == [401] * 3
    assert Asked(x_api_key="secret").of(of)[0] == 200


# --- what is measured, and what is let through


def test_every_answer_is_counted_by_its_address_and_status():
    seen = Observation()
    of = limits(observation=seen, api_key="secret", timeout=TIMEOUT)
    for asked in (
        Asked(),
        Asked(x_api_key="secret"),
        Asked(b"x" * 11, x_api_key="secret"),
        Asked(None, x_api_key="secret"),
    ):
        asked.of(of)
    told = generate_latest(seen.registry).decode()
    for status in (200, 401, 413, 408):
        assert f'anyo_answers_total{{path="other",status="{status}"}} 1.0' in told
    assert 'anyo_request_seconds_count{path="other"} 4.0' in told


def test_what_is_no_request_is_let_through():
    app = Echo()
    asyncio.run(limits(app, api_key="secret")({"type": "lifespan"}, None, None))
    assert app.scopes == ["lifespan"]
