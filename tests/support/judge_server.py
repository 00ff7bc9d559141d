"""A stand-in judge: an HTTP server on loopback with replies set by the test, faults included."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from threading import Event
from typing import Any

from goft_cli.verbs.reproduce.rehearsal import Reply, serving


@dataclass(frozen=True)
class Seen:
    """One received request."""

    path: str
    headers: Mapping[str, str]
    body: dict[str, Any]

    @property
    def user(self) -> str:
        """The last message, which the judge is asked to rate."""
        return self.body["messages"][-1]["content"]


@dataclass
class JudgeServer:
    """The received requests, and the replies: `replies` in order, then `otherwise`."""

    url: str = ""
    seen: list[Seen] = field(default_factory=list)
    replies: deque[Reply] = field(default_factory=deque)
    otherwise: Callable[[Seen], Reply] = lambda seen: says("Good. [[7]]")
    released: Event = field(default_factory=Event)

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        """Record a request and answer it."""
        length = int(handler.headers["Content-Length"] or 0)
        body = json.loads(handler.rfile.read(length) or b"{}")
        seen = Seen(handler.path, dict(handler.headers), body)
        self.seen.append(seen)
        try:
            reply = self.replies.popleft()
        except IndexError:
            reply = self.otherwise(seen)
        reply(handler)

    def silence(self, handler: BaseHTTPRequestHandler) -> None:
        """Leave a request unanswered until the test is over."""
        self.released.wait()
        handler.close_connection = True


def status(code: int, body: str = "", **headers: str) -> Reply:
    """Return a reply with a status and a body; `Retry_After="1"` sets the header Retry-After."""

    def reply(handler: BaseHTTPRequestHandler) -> None:
        content = body.encode()
        handler.send_response(code)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content)

    return reply


def says(text: str | None) -> Reply:
    """Return a reply with a chat completion."""
    message = {"role": "assistant", "content": text}
    return status(200, json.dumps({"choices": [{"index": 0, "message": message}]}))


def hang_up(handler: BaseHTTPRequestHandler) -> None:
    """Close the connection without a response."""
    handler.close_connection = True


def break_off(handler: BaseHTTPRequestHandler) -> None:
    """Announce more bytes than are sent, and close the connection."""
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b'{"choices": [')
    handler.close_connection = True


@contextmanager
def running_judge() -> Iterator[JudgeServer]:
    """Run the stand-in judge on a free port."""
    judge = JudgeServer()
    with serving(judge.answer) as judge.url:
        try:
            yield judge
        finally:
            judge.released.set()


def write_prompts(path: Path, **changes: object) -> Path:
    """Write a file in the format of FastChat's judge_prompts.jsonl."""
    places = {
        "single-v1": "{question} {answer}",
        "single-math-v1": "{question} {answer} {ref_answer_1}",
    }
    rows: list[dict[str, object]] = [
        {"name": name, "type": "single", "system_prompt": "S", "prompt_template": template}
        for name, template in places.items()
    ]
    rows[1] |= changes
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path
