"""A judge on loopback: a real HTTP server that answers as it is told, faults included."""

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
    """One request as it arrived."""

    path: str
    headers: Mapping[str, str]
    body: dict[str, Any]

    @property
    def user(self) -> str:
        """What the judge was asked to read."""
        return self.body["messages"][-1]["content"]


@dataclass
class JudgeServer:
    """What arrived, and what is answered: `replies` in their order, then `otherwise`."""

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
    """Answer with a status and a body; `Retry_After="1"` is a header."""

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
    """Answer with a chat completion."""
    message = {"role": "assistant", "content": text}
    return status(200, json.dumps({"choices": [{"index": 0, "message": message}]}))


def hang_up(handler: BaseHTTPRequestHandler) -> None:
    """Close the connection without a word."""
    handler.close_connection = True


def break_off(handler: BaseHTTPRequestHandler) -> None:
    """Promise more than is sent."""
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b'{"choices": [')
    handler.close_connection = True


@contextmanager
def running_judge() -> Iterator[JudgeServer]:
    """Serve on a free port of this machine."""
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
