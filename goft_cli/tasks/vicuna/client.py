"""The judge's chat completions over HTTP, with retries after waits that the server may set."""

from __future__ import annotations

import json
import logging
import os
import random
import re
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http.client import HTTPException, HTTPMessage
from threading import Event, Lock
from typing import IO, Any, TypeVar
from urllib.error import HTTPError, URLError
from urllib.request import HTTPRedirectHandler, Request, build_opener

from goft_cli.config import JudgeConfig
from goft_cli.system.errors import GoftError
from goft_cli.system.secrets import BLOT, SHORTEST_SECRET
from goft_cli.tasks.vicuna.rubric import Messages

T = TypeVar("T")

logger = logging.getLogger(__name__)

LONGEST_WAIT_SECONDS = 60.0
# FastChat's settings for judges (llm_judge/common.py).
TEMPERATURE = 0
MAX_TOKENS = 2048
SUBSTITUTES = {"max_tokens": {"max_completion_tokens": MAX_TOKENS}, "temperature": {}}
"""Replacements for settings that a service refuses; reasoning models refuse both."""
UNSUPPORTED = re.compile(r"unsupported|not support|not permitted|unknown|unrecogni[sz]ed", re.I)
"""Words of services that do not support a setting, unlike those about a value too large."""
# A bad request, one too large, and FastAPI's answer to an invalid body.
REFUSED_REQUEST = {400, 413, 422}
# Besides 5xx: too slow, too early, too often.
TRANSIENT = {408, 425, 429}
SHOWN = 200


class TransientError(Exception):
    """A temporary error; `wait` has the seconds that the server asks to wait."""

    def __init__(self, reason: str, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.wait = wait


class Retries:
    """A number of attempts, and the waits between them; the threads of one client share it."""

    def __init__(self, retries: int, backoff_seconds: float) -> None:
        self.retries = retries
        self.backoff_seconds = backoff_seconds
        self._stopped = Event()
        self._random = random.Random()  # the shared one has a seed, equal in every process

    def run(self, attempt: Callable[[], T]) -> T:
        """Return the result of the first attempt that succeeds.

        Raises:
            TransientError: the last attempt's, or the latest one's once `stop` was called.
        """
        for done in range(self.retries):
            try:
                return attempt()
            except TransientError as fault:
                if self._stopped.wait(self.delay(done, fault.wait)):
                    raise
        return attempt()

    def stop(self) -> None:
        """End all waiting, from any thread."""
        self._stopped.set()

    def delay(self, done: int, asked: float) -> float:
        """Return the seconds to wait after attempt number `done`, counted from 0.

        It doubles each time, with a random change of up to half, so that threads do not retry at
        the same time; it is at least what the server asks, and at most a minute.
        """
        backoff = self.backoff_seconds * 2**done * self._random.uniform(0.5, 1.5)
        return min(max(backoff, asked), LONGEST_WAIT_SECONDS)


def seconds_asked(retry_after: str | None, now: datetime | None = None) -> float:
    """Read the header Retry-After (RFC 9110, 10.2.3): seconds, or a date; 0 if it is neither."""
    value = (retry_after or "").strip()
    if value.isascii() and value.isdigit():
        return float(value)
    try:
        until = parsedate_to_datetime(value)
        return max(0.0, (until - (now or datetime.now(UTC))).total_seconds())
    except (TypeError, ValueError):  # no date, or one without a time zone
        return 0.0


class UnusableReplyError(TransientError):
    """The server's answer is not a chat completion."""


class RefusedRequestError(Exception):
    """The server refuses this one request, and may take others."""


class _NoRedirects(HTTPRedirectHandler):
    """Leaves a redirect unfollowed: it would carry the key to another host."""

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> None:
        """Make no request of it, so that the status comes through."""


class ChatClient:
    """One model at one address; threads may share it."""

    def __init__(self, judge: JudgeConfig) -> None:
        """Read the key from the environment."""
        self.name = f"judge {judge.model} at {judge.base_url}"
        self.retries = Retries(judge.retries, judge.backoff_seconds)
        self.judge = judge
        self._key = read_key(judge.api_key_variable)
        self._settings: dict[str, int] = {"temperature": TEMPERATURE, "max_tokens": MAX_TOKENS}
        self._lock = Lock()
        self._opener = build_opener(_NoRedirects)

    def complete(self, messages: Messages) -> str:
        """Return the reply to a conversation.

        Raises:
            UnusableReplyError: after all retries there is still no text in the reply.
            RefusedRequestError: the server refuses this conversation.
        """
        settings = self._settings
        try:
            return self.retries.run(lambda: self._text(self._send(messages, settings)))
        except UnusableReplyError:
            raise
        except RefusedRequestError as refusal:
            if not self._drop_refused(settings, str(refusal)):
                raise
            return self.complete(messages)
        except TransientError as fault:
            raise GoftError(
                f"{self.name}: {fault}, after {self.judge.retries + 1} attempts",
                "the judgments so far are kept, and the same command continues",
            ) from None

    def _drop_refused(self, settings: dict[str, int], said: str) -> bool:
        """Replace the settings that a refusal names, for all later requests; False if none is.

        The settings are those of the refused request.
        """
        refused = {name for name in settings if name in SUBSTITUTES and name in said}
        if not refused or not UNSUPPORTED.search(said):
            return False
        kept = {name: value for name, value in settings.items() if name not in refused}
        for name in sorted(refused):
            kept |= SUBSTITUTES[name]
        with self._lock:
            if self._settings == settings:  # else another thread has changed and logged them
                self._settings = kept
                names, instead = " and ".join(sorted(refused)), ", ".join(kept) or "no settings"
                logger.warning("%s refuses %s; it is asked with %s", self.name, names, instead)
        return True

    def _send(self, messages: Messages, settings: dict[str, int]) -> bytes:
        content = {"model": self.judge.model, "messages": messages, **settings}
        headers = {"Content-Type": "application/json"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        address = f"{(self.judge.base_url or '').rstrip('/')}/chat/completions"
        request = Request(address, json.dumps(content).encode(), headers, method="POST")
        try:
            with self._opener.open(request, timeout=self.judge.timeout_seconds) as response:
                return response.read()
        except HTTPError as error:
            raise self._fault(error) from None
        except (OSError, HTTPException) as error:
            cause = error.reason if isinstance(error, URLError) else error
            raise TransientError(self._shown(f"{type(cause).__name__}: {cause}")) from None

    def _fault(self, error: HTTPError) -> Exception:
        """Return a temporary error or a refusal, by the HTTP status."""
        with error:
            said = self._shown(f"{error.code} {error.reason}: {detail(error)}".rstrip(": "))
        if error.code in TRANSIENT or error.code >= 500:
            return TransientError(f"it answers {said}", seconds_asked(error.headers["Retry-After"]))
        variable = self.judge.api_key_variable
        remedy = "check task.judge.base_url and task.judge.model"
        if error.code in {401, 403} and self._key:
            remedy = f"check the key in the environment variable {variable}"
        elif error.code in {401, 403}:
            remedy = f"set the environment variable {variable} to its key"
        sentence = f"{self.name} answers {said}; {remedy}"
        refused = error.code in REFUSED_REQUEST
        return RefusedRequestError(sentence) if refused else GoftError(sentence)

    def _text(self, body: bytes) -> str:
        """Return the text of a chat completion; UnusableReplyError if there is none."""
        try:
            text = json.loads(body)["choices"][0]["message"]["content"]
        except (ValueError, LookupError, TypeError):
            text = None
        if not isinstance(text, str) or not text.strip():
            shown = self._shown(body.decode(errors="replace"))
            raise UnusableReplyError(f"no chat completion with a text: {shown!r}")
        return self._clean(text.encode(errors="replace").decode())  # no half surrogate pairs

    def _clean(self, text: str) -> str:
        """Replace the key, which some servers repeat."""
        secret = self._key if len(self._key) >= SHORTEST_SECRET else None
        return text.replace(secret, BLOT) if secret else text

    def _shown(self, text: str) -> str:
        """Return one line of a server's text; the key is removed before the line is cut."""
        return " ".join(self._clean(text).split())[:SHOWN]


def read_key(variable: str) -> str:
    """Return the key in an environment variable; empty if it is not set."""
    key = os.environ.get(variable, "").strip()
    if not key.isascii() or not key.isprintable():
        raise GoftError(
            f"the environment variable {variable} has characters that a key cannot have",
            "set it again, on one line",
        )
    return key


def detail(error: HTTPError) -> str:
    """Return a server's reason for a refusal: OpenAI's `error.message`, or the text."""
    try:
        text = error.read(10_000).decode(errors="replace")
    except (OSError, HTTPException):
        return ""
    try:
        told: Any = json.loads(text)["error"]
        text = told["message"] if isinstance(told, dict) else str(told)
    except (ValueError, LookupError, TypeError):
        pass
    return str(text)
