"""What a client may not do: send too much, too slowly, too often, or without the key."""

import json
import math
import secrets
import time
from collections import OrderedDict

import anyio
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .observation import Observation
from .pages import FILES

OPEN = ("/health", "/ready", *FILES)  # asked by what keeps the service alive, and by browsers, which send no header
MOST_CLIENTS = 10_000  # whose rates are remembered


class RefusedError(Exception):
    """A request that is not looked at further."""

    def __init__(self, status: int, detail: str, **headers: str) -> None:
        self.status, self.detail, self.headers = status, detail, headers


class Limits:
    """Answers 401, 408, 413 and 429 before the application sees a request; measures every answer.

    Args:
        app: The application.
        observation: Who is told.
        max_body: Bytes of a request's body.
        timeout: Seconds in which it must have come.
        api_key: What the header `X-API-Key` must hold; None: nothing.
        per_second: Requests of one client; None: any number.
    """

    def __init__(
        self,
        app: ASGIApp,
        observation: Observation,
        max_body: int,
        timeout: float,
        api_key: str | None,
        per_second: float | None,
    ) -> None:
        self.app, self.observation = app, observation
        self.max_body, self.timeout, self.api_key = max_body, timeout, api_key
        self.rates = None if per_second is None else Rates(per_second)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        start, status = time.perf_counter(), 500

        async def sent(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            self._look(scope)
            whole = await self._body_in_time(scope, receive)
            await self.app(scope, _given(whole, receive), sent)
        except RefusedError as refused:
            status = refused.status
            await _refuse(send, refused)
        finally:
            route = scope.get("route")
            path = getattr(route, "path", "other")
            self.observation.latency.labels(path).observe(time.perf_counter() - start)
            self.observation.answers.labels(path, status).inc()

    def _look(self, scope: Scope) -> None:
        if scope["path"] in OPEN:
            return
        headers = dict(scope["headers"])
        if self.api_key is not None and not secrets.compare_digest(
            headers.get(b"x-api-key", b""), self.api_key.encode()
        ):
            raise RefusedError(401, "The header X-API-Key does not hold the key.")
        if self.rates is not None:
            wait = self.rates.wait((scope.get("client") or ("",))[0])
            if wait > 0:
                raise RefusedError(429, "Too many requests.", **{"retry-after": str(math.ceil(wait))})

    async def _body_in_time(self, scope: Scope, receive: Receive) -> bytes:
        try:
            with anyio.fail_after(self.timeout):
                return await self._body(scope, receive)
        except TimeoutError:
            raise RefusedError(408, "The request did not come in time.", connection="close") from None

    async def _body(self, scope: Scope, receive: Receive) -> bytes:
        told = dict(scope["headers"]).get(b"content-length", b"0")
        if told.isdigit() and int(told) > self.max_body:
            raise self._too_large()
        parts, size = [], 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise RefusedError(400, "The client has gone.")
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            if size > self.max_body:
                raise self._too_large()
            if not message.get("more_body", False):
                return b"".join(parts)

    def _too_large(self) -> RefusedError:
        return RefusedError(413, f"A request may hold {self.max_body} bytes.", connection="close")


class Rates:
    """How often each client may ask: `per_second` on average, twice as many at once (a token bucket).

    Args:
        per_second: Above 0.
    """

    def __init__(self, per_second: float) -> None:
        self.per_second, self.most = per_second, max(1.0, 2 * per_second)
        self.buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # by client: tokens left, when

    def wait(self, client: str) -> float:
        """Counts one request; returns the seconds until it would be allowed, 0 where it is."""
        now = time.monotonic()
        left, when = self.buckets.pop(client, (self.most, now))
        left = min(self.most, left + (now - when) * self.per_second)
        allowed = left >= 1
        self.buckets[client] = (left - 1 if allowed else left, now)
        if len(self.buckets) > MOST_CLIENTS:
            self.buckets.popitem(last=False)
        return 0.0 if allowed else (1 - left) / self.per_second


def _given(body: bytes, receive: Receive) -> Receive:
    """Returns a `receive` that tells a body that has come already, then goes on."""
    told = False

    async def receive_body() -> Message:
        nonlocal told
        if told:
            return await receive()
        told = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receive_body


async def _refuse(send: Send, refused: RefusedError) -> None:
    body = json.dumps({"detail": refused.detail}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    headers += [(name.encode(), value.encode()) for name, value in refused.headers.items()]
    await send({"type": "http.response.start", "status": refused.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
