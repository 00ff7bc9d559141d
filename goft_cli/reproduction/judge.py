"""A judge on loopback that likes every answer equally: it stands in for the paid one."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

HOST = "127.0.0.1"
VERDICT = "It answers the question. Rating: [[7]]"

Reply = Callable[[BaseHTTPRequestHandler], None]


@contextmanager
def serving(reply: Reply) -> Iterator[str]:
    """Serve on a free port of this machine, past any proxy; yields the address.

    Args:
        reply: answers one request, GET or POST.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            reply(self)

        def do_GET(self) -> None:
            reply(self)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    server = ThreadingHTTPServer((HOST, 0), Handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        with without_proxy(HOST):
            yield f"http://{HOST}:{server.server_port}/v1"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def agree(handler: BaseHTTPRequestHandler) -> None:
    """Answer a chat completion with the same rating always."""
    handler.rfile.read(int(handler.headers["Content-Length"] or 0))
    message = {"role": "assistant", "content": VERDICT}
    content = json.dumps({"choices": [{"index": 0, "message": message}]}).encode()
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(content)))
    handler.end_headers()
    handler.wfile.write(content)


@contextmanager
def without_proxy(host: str) -> Iterator[None]:
    """Reach a host directly, whatever the environment says of proxies."""
    before = os.environ.get("no_proxy")
    os.environ["no_proxy"] = host
    try:
        yield
    finally:
        if before is None:
            del os.environ["no_proxy"]
        else:
            os.environ["no_proxy"] = before
