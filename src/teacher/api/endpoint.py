"""One request to an OpenAI-compatible endpoint, and what may become of it."""

import hashlib
import json
import math
import os
import time
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ...core.errors import UserError
from ...core.logging import quiet_libraries
from ...core.settings import LARGEST
from .answer_store import Answer, Usage
from .question import response_format
from .settings import ApiSettings

if TYPE_CHECKING:
    from openai import OpenAI

AROUND = 64  # the most tokens that a chat template puts around a message
NOT_SENT = ("ConnectError", "ConnectTimeout", "UnsupportedProtocol")  # of the library's HTTP client, whichever it is
WORKED = (408, 502, 504)  # statuses behind which a model may have worked
BUSY = (408, 409, 429)  # and all from 500 on: it may be otherwise in a while


class UnansweredError(Exception):
    """A request that got no answer.

    Args:
        why: In words.
        billed: Whether the endpoint may have worked on it.
        again: Whether it may be answered another time.
        wait: Seconds that the endpoint asks to wait, where it says so.
    """

    def __init__(self, why: str, billed: bool, again: bool = True, wait: float | None = None) -> None:
        super().__init__(why)
        self.why, self.billed, self.again, self.wait = why, billed, again, wait


@dataclass(frozen=True)
class Request:
    """What is sent, but for where it is sent to.

    settings: Model, sampling, form of the answer.
    text: The one message.
    candidates: How many are to be ranked.
    """

    settings: ApiSettings
    text: str
    candidates: int

    @cached_property
    def body(self) -> dict[str, Any]:
        """All that decides the answer, by names of our own where those of endpoints differ."""
        settings = self.settings
        as_json = {"response_format": response_format(self.candidates)} if settings.answer == "json_schema" else {}
        sampling = {} if settings.temperature is None else {"temperature": settings.temperature}
        message = {"role": "user", "content": self.text}
        return {"model": settings.model, "messages": [message], **sampling, **as_json, **settings.more}

    @cached_property
    def digest(self) -> str:
        """SHA-256 in hex, of model, message and sampling: the name of its answer."""
        whole = {**self.body, "answer_tokens": self.settings.answer_tokens}
        canonical = json.dumps(whole, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()

    @property
    def most(self) -> Usage:
        """The most that it can take: no token is shorter than a byte, and the endpoint cuts answers off."""
        size = len(json.dumps(self.body, ensure_ascii=False).encode())
        return Usage(size + AROUND, self.settings.answer_tokens)


class Endpoint:
    """Asks with the key that an environment variable holds; neither log nor error says it.

    Args:
        settings: Where, and how long to wait.

    Raises:
        UserError: The variable is not set, or the package `openai` is not installed.
    """

    def __init__(self, settings: ApiSettings) -> None:
        self.settings, self._key = settings, key_of(settings)

    @cached_property
    def _client(self) -> "OpenAI":
        from openai import OpenAI

        quiet_libraries()  # a line for every request
        key = self._key or "none"  # the library wants one
        return OpenAI(api_key=key, base_url=self.settings.base_url, timeout=self.settings.timeout, max_retries=0)

    def ask(self, request: Request) -> Answer:
        """Sends a request once: `asking` counts, waits and sends again.

        Raises:
            UnansweredError: There is no answer.
        """
        import openai

        limit: dict[str, Any] = {self.settings.answer_tokens_field: self.settings.answer_tokens}
        completions = self._client.chat.completions.with_raw_response
        try:
            response = completions.create(**_known(request.body), extra_body={**limit, **self.settings.more})
            return _read(response.text, request.most)
        except openai.APIStatusError as error:
            status, wait = error.status_code, _wait(error.response.headers.get("retry-after"))
            said = self._without_key(" ".join(error.response.text.split())[:300])
            again = status in BUSY or status >= 500
            billed = status in WORKED  # a gateway gave up behind which the model may have written an answer
            raise UnansweredError(f"status {status}: {said}", billed=billed, again=again, wait=wait) from None
        except openai.APIConnectionError as error:
            cause = error.__cause__ or error
            said = self._without_key(str(cause)) or type(cause).__name__
            billed = type(cause).__name__ not in NOT_SENT
            raise UnansweredError(f"{said} ({self.settings.base_url})", billed) from None

    def _without_key(self, said: str) -> str:
        return said.replace(self._key, "[key]") if self._key else said


def key_of(settings: ApiSettings) -> str | None:
    """Returns the key; None where the endpoint wants none.

    Raises:
        UserError: The variable that should hold it is not set, or the package `openai` is not installed.
    """
    from importlib.util import find_spec

    if find_spec("openai") is None:
        raise UserError(
            "teacher.name=api needs the package openai: `poetry install --extras api`, or `pip install openai`."
        )
    if settings.key_variable is None:
        return None
    key = os.environ.get(settings.key_variable, "").strip()
    if not key or not key.isascii() or not key.isprintable():
        raise UserError(
            f"The environment variable {settings.key_variable}, which teacher.api.key_variable names, holds no key: "
            "set it, or teacher.api.key_variable=null where the endpoint wants none."
        )
    return key


def _known(body: dict[str, Any]) -> dict[str, Any]:
    return {name: body[name] for name in ("model", "messages", "temperature", "response_format") if name in body}


def _read(text: str, most: Usage) -> Answer:
    """Returns what a chat completion says; one that says nothing of tokens is taken to have had as many as it may.

    Raises:
        UnansweredError: It is none.
    """
    try:
        found: Any = json.loads(text)
        said = found["choices"][0]["message"]["content"]
        usage = found.get("usage") or {}
        taken = Usage(
            int(usage.get("prompt_tokens", most.prompt)), int(usage.get("completion_tokens", most.completion))
        )
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
        raise UnansweredError(f"no chat completion but {' '.join(text.split())[:80]!r}", billed=True) from None
    if min(taken) < 0 or max(taken) > LARGEST:
        raise UnansweredError(
            f"a chat completion that says it took {taken.prompt} and {taken.completion} tokens", billed=True
        )
    return Answer(said.encode(errors="replace").decode() if isinstance(said, str) else "", taken)


def _wait(header: str | None) -> float | None:
    """Returns the seconds of a Retry-After, a number or a date; None where there is none or it says neither."""
    if header is None:
        return None
    try:
        seconds = float(header)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(header).timestamp() - time.time()
        except (ValueError, TypeError):
            return None
    return max(0.0, seconds) if math.isfinite(seconds) else None
