"""Endpoints of tests: real servers on this machine that rank by a rule which a test can follow, or misbehave."""

import json
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

NUMBERED = re.compile(r"^(\d+)\. (.*)$", re.MULTILINE)


def ranked(titles: Sequence[str]) -> list[int]:
    """The rule: titles from Z to A; returns places from 0, of equal titles the first one first."""
    return sorted(range(len(titles)), key=lambda place: titles[place], reverse=True)


def right(text: str) -> str:
    """Returns the answer of the rule to a question, in the form that it asks for."""
    numbers = [place + 1 for place in ranked([title for _, title in NUMBERED.findall(text)])]
    return json.dumps({"ranking": numbers}) if "JSON" in text else ", ".join(map(str, numbers))


def nonsense(text: str) -> str:
    return "I would rather not say."


@dataclass
class Asked:
    """A request as the server saw it."""

    body: dict
    headers: dict[str, str]
    at: float

    @property
    def text(self) -> str:
        return self.body["messages"][0]["content"]


@dataclass
class Server:
    """What a server was asked, and what it says that this took."""

    url: str = ""
    asked: list[Asked] = field(default_factory=list)
    billed: int = 0
    at_once: int = 0
    most_at_once: int = 0
    turn: threading.Lock = field(default_factory=threading.Lock)


Misbehaves = Callable[["Handler", int, Asked], bool]  # does it, or returns False: number and request


def slow(seconds: float) -> Misbehaves:
    def wait(handler: "Handler", number: int, asked: Asked) -> bool:
        time.sleep(seconds)
        return False

    return wait


def fails(status: int, requests: int, retry_after: str | None = None, says: str = "busy") -> Misbehaves:
    """The first requests get a status that is no answer."""

    def fail(handler: "Handler", number: int, asked: Asked) -> bool:
        if number >= requests:
            return False
        handler.answer(
            status, {"error": {"message": says}}, {} if retry_after is None else {"Retry-After": retry_after}
        )
        return True

    return fail


def cuts(requests: int) -> Misbehaves:
    """The connection of the first requests ends in the middle of the answer."""

    def cut(handler: "Handler", number: int, asked: Asked) -> bool:
        if number >= requests:
            return False
        handler.answer(200, {"choices": [{"message": {"content": "1, 2"}}]}, {"Content-Length": "4000"})
        handler.close_connection = True
        return True

    return cut


class Handler(BaseHTTPRequestHandler):
    """One request; `protocol_version` keeps connections open, as real servers do."""

    protocol_version = "HTTP/1.1"
    server_of_test: Server
    says: Callable[[str], str]
    misbehaves: Misbehaves | None
    tells_usage: bool

    def do_POST(self) -> None:
        server = self.server_of_test
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        asked = Asked(body, {name.lower(): value for name, value in self.headers.items()}, time.monotonic())
        with server.turn:
            server.asked.append(asked)
            number = len(server.asked) - 1
            server.at_once += 1
            server.most_at_once = max(server.most_at_once, server.at_once)
        try:
            if self.misbehaves is None or not self.misbehaves(self, number, asked):
                self.complete(asked)
        except BrokenPipeError:  # nobody waits any more
            pass
        finally:
            with server.turn:
                server.at_once -= 1

    def complete(self, asked: Asked) -> None:
        said = type(self).says(asked.text)
        usage = {"prompt_tokens": len(asked.text) // 3, "completion_tokens": len(said) // 2}
        with self.server_of_test.turn:
            self.server_of_test.billed += sum(usage.values())
        message = {"role": "assistant", "content": said}
        whole = {"id": "1", "object": "chat.completion", "choices": [{"index": 0, "message": message}]}
        self.answer(200, whole | ({"usage": usage} if self.tells_usage else {}), {})

    def answer(self, status: int, content: object, headers: dict[str, str]) -> None:
        data = json.dumps(content).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(data)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)
        self.wfile.flush()

    def log_message(self, *_: object) -> None:
        pass


class _Quiet(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:  # a child that was killed hangs up
        pass


@contextmanager
def serving(
    says: Callable[[str], str] = right, misbehaves: Misbehaves | None = None, tells_usage: bool = True
) -> Iterator[Server]:
    """Yields a server that runs in a thread of its own until the block ends."""
    server = Server()
    how = {"server_of_test": server, "says": staticmethod(says), "tells_usage": tells_usage}
    bad = None if misbehaves is None else staticmethod(misbehaves)
    http = _Quiet(("127.0.0.1", 0), type("Bound", (Handler,), {**how, "misbehaves": bad}))
    server.url = f"http://127.0.0.1:{http.server_port}/v1"
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        http.shutdown()
        http.server_close()
        thread.join()
