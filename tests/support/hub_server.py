"""A stand-in for the hub's API on loopback: accounts, repositories, commits; all in memory."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.support.hub_downloads import Downloads, Shelf

TOKEN = "hf_a-token-for-tests-alone"
OWNER = "me"


@dataclass
class Hub:
    """The state of the stand-in server.

    Attributes:
        url: the server's address.
        private: whether each repository is private.
        files: the content of each repository's files, by path.
        writable: whether the token may create repositories.
        shelf: what can be downloaded.
    """

    url: str = ""
    private: dict[str, bool] = field(default_factory=dict)
    files: dict[str, dict[str, bytes]] = field(default_factory=dict)
    writable: bool = True
    shelf: Shelf = field(default_factory=Shelf)

    def write(self, root: Path) -> None:
        """Write the files of every repository below a folder."""
        for repo, files in self.files.items():
            for name, content in files.items():
                path = root / repo / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)


@contextmanager
def serving() -> Iterator[Hub]:
    """Run the server on a free port while the block runs."""
    hub = Hub()
    handler = type("BoundHandler", (Handler,), {"hub": hub, "shelf": hub.shelf})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Handler(Downloads, BaseHTTPRequestHandler):
    """Handles the requests of an upload, besides those of a download."""

    hub: Hub

    def do_HEAD(self) -> None:
        if self.path == "/" or not self.downloaded(TOKEN):
            self.answer(200 if self.path == "/" else 404, {})

    def do_GET(self) -> None:
        if self.downloaded(TOKEN):
            return
        repo = self.path.removeprefix("/api/models/").partition("/revision")[0]
        if self.headers.get("Authorization") is None:  # like the hub for a missing repository
            self.answer(401, {"error": "Repository not found"}, code="RepoNotFound")
        elif self.headers["Authorization"] != f"Bearer {TOKEN}":
            self.answer(401, {"error": "Invalid username or password."})
        elif self.path == "/api/whoami-v2":
            self.answer(200, {"name": OWNER, "type": "user"})
        elif repo in self.hub.private:
            self.answer(200, {"id": repo, "private": self.hub.private[repo], "sha": "0" * 40})
        else:
            self.answer(404, {"error": "Repository not found"}, code="RepoNotFound")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        repo = self.path.removeprefix("/api/models/").rpartition("/")[0].rpartition("/")[0]
        if self.path == "/api/repos/create":
            self.create(json.loads(body))
        elif self.path.endswith("/preupload/main"):
            files = [{**f, "uploadMode": "regular"} for f in json.loads(body)["files"]]
            self.answer(200, {"files": [f | {"shouldIgnore": False} for f in files]})
        elif self.path.endswith("/commit/main"):
            self.commit(repo, [json.loads(line) for line in body.splitlines()])
        else:
            self.answer(200, {})

    def create(self, wanted: dict[str, Any]) -> None:
        if not self.hub.writable:
            self.answer(403, {"error": "You don't have the rights to create a model."})
            return
        repo = f"{wanted.get('organization') or OWNER}/{wanted['name']}"
        if repo in self.hub.private:
            self.answer(409, {"url": f"{self.hub.url}/{repo}"})
            return
        told = {"private": True, "public": False}.get(wanted.get("visibility", ""), False)
        self.hub.private[repo] = wanted.get("private", told)
        self.answer(200, {"url": f"{self.hub.url}/{repo}"})

    def commit(self, repo: str, lines: list[dict[str, Any]]) -> None:
        content = [line["value"] for line in lines if line["key"] == "file"]
        self.hub.files[repo] = {f["path"]: base64.b64decode(f["content"]) for f in content}
        commit = {"commitOid": "1" * 40, "commitUrl": f"{self.hub.url}/{repo}/commit/1"}
        self.answer(200, {**commit, "success": True, "pullRequestUrl": None})

    def answer(self, status: int, content: dict[str, Any], code: str = "") -> None:
        body = b"" if self.command == "HEAD" else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if code:
            self.send_header("X-Error-Code", code)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        """Keep the test output quiet."""
