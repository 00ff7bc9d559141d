"""The downloads of the stand-in hub: repositories, their commits, and simulated faults."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import unquote, urlsplit

ADDRESS = re.compile(
    r"/(?:api/models/|(?P<set>api/datasets/|datasets/))?(?P<repo>[^/]+/[^/]+)"
    r"/(?P<what>revision|tree|resolve|auth-check)(?:/(?P<revision>[^/]+))?(?:/(?P<file>.+))?"
)
RANGE = re.compile(r"bytes=(\d+)-")
LARGE = (".safetensors", ".bin", ".parquet", ".h5", ".ot")
Files = Mapping[str, bytes]


@dataclass
class Repository:
    """One repository, with the files of each commit; `main` is the last commit."""

    commits: dict[str, Files]
    kind: str = "model"
    gated: bool = False
    private: bool = False

    def commit(self, revision: str) -> str | None:
        """Return the commit of a revision, or None if there is none."""
        found = [*self.commits][-1] if revision == "main" else revision
        return found if found in self.commits else None


@dataclass
class Shelf:
    """What can be downloaded, and the faults that the server simulates.

    Attributes:
        repositories: the repositories by name.
        asked: method and path of every request, in order.
        busy: how many of the next requests get status 429.
        resumed: how many requests asked only for the rest of a file, with a Range header.
        broken: how many of the next files are cut off after their first half.
        redirected: whether large files are redirected to another host.
        web_page: whether every request gets an HTML page, as from a proxy.
        dead_tokens: tokens that are refused as expired.
        closed_to: tokens that may not see private repositories.
        has_gates: whether `auth-check`, the question whether a repository is gated, is supported.
    """

    repositories: dict[str, Repository] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)
    busy: int = 0
    resumed: int = 0
    broken: int = 0
    redirected: bool = False
    web_page: bool = False
    dead_tokens: set[str] = field(default_factory=set)
    closed_to: set[str] = field(default_factory=set)
    has_gates: bool = True

    def publish(self, name: str, files: Files, commit: str = "a" * 40, kind: str = "model") -> None:
        """Add a commit to a repository, which is created if it does not exist."""
        known = self.repositories.setdefault(name, Repository({}, kind))
        known.commits[commit] = files

    def fetched(self) -> list[str]:
        """Return the files whose content was requested, each once, sorted."""
        found = [ADDRESS.fullmatch(path) for method, path in self.asked if method == "GET"]
        return sorted({hit["file"] for hit in found if hit and hit["what"] == "resolve"})


def files_of(folder: Path) -> dict[str, bytes]:
    """Return the content of each file in a folder, by relative path."""
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


class Downloads(BaseHTTPRequestHandler):
    """Handles the requests of a download."""

    shelf: Shelf

    def downloaded(self, token: str) -> bool:
        """Answer a request about a repository of the shelf; return whether it was one."""
        path = unquote(urlsplit(self.path).path)
        self.shelf.asked.append((self.command, path))
        given = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        if self.shelf.web_page:
            self.send(200, b"<title>Log in</title>", {"Content-Type": "text/html"})
        elif self.shelf.busy:
            self.shelf.busy -= 1
            self.send(429, b"{}", {"Retry-After": "0"})
        elif given in self.shelf.dead_tokens:
            said = "Invalid credentials in Authorization header"
            self.send(401, json.dumps({"error": said}).encode(), {"X-Error-Message": said})
        elif path.startswith("/elsewhere/"):
            self.send_content(self.content_at(path.removeprefix("/elsewhere")) or b"")
        else:
            sees_all = given == token and given not in self.shelf.closed_to
            return self.about_repository(path, sees_all)
        return True

    def about_repository(self, path: str, known: bool) -> bool:
        hit = ADDRESS.fullmatch(path)
        repository = self.shelf.repositories.get(hit["repo"]) if hit else None
        if hit is None or repository is None:
            return False
        if repository.kind != ("dataset" if hit["set"] else "model"):
            return False
        commit = repository.commit(hit["revision"] or "main")
        if repository.private and not known:
            return False
        if hit["what"] == "auth-check" and not self.shelf.has_gates:
            return False
        if commit is None:
            self.send(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
        elif hit["what"] in {"resolve", "auth-check"} and repository.gated:
            self.send(403, b"{}", {"X-Error-Code": "GatedRepo"})
        elif hit["what"] == "resolve":
            self.send_file(path, repository.commits[commit].get(hit["file"]), commit)
        else:
            files = repository.commits[commit]
            named = [entry(name, files[name]) for name in sorted(files)]
            listing = {"id": hit["repo"], "sha": commit, "siblings": named}
            self.send(200, json.dumps(named if hit["what"] == "tree" else listing).encode())
        return True

    def content_at(self, path: str) -> bytes | None:
        hit = ADDRESS.fullmatch(path)
        if hit is None:
            return None
        repository = self.shelf.repositories[hit["repo"]]
        return repository.commits[repository.commit(hit["revision"]) or ""].get(hit["file"])

    def send_file(self, path: str, content: bytes | None, commit: str) -> None:
        if content is None:
            self.send(404, b"{}", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit})
            return
        tag = f'"{etag(path, content)}"'
        if self.shelf.redirected and path.endswith(LARGE):
            linked = {"X-Linked-Etag": tag, "X-Linked-Size": str(len(content))}
            host = self.headers["Host"].replace("127.0.0.1", "localhost")  # another host's name
            where = f"http://{host}/elsewhere{path}"
            self.send(302, b"", {"Location": where, "X-Repo-Commit": commit, **linked})
        else:
            self.send_content(content, {"ETag": tag, "X-Repo-Commit": commit})

    def send_content(self, content: bytes, headers: Mapping[str, str] | None = None) -> None:
        """Send a file or the requested rest of it, cut off in the middle if `broken` is set."""
        asked = RANGE.fullmatch(self.headers.get("Range") or "")
        start = int(asked[1]) if asked else 0
        rest, told = content[start:], {**(headers or {}), "Accept-Ranges": "bytes"}
        stop = None
        if self.command == "GET" and self.shelf.broken and len(rest) > 1:
            self.shelf.broken -= 1
            stop = len(rest) // 2
        if asked:
            self.shelf.resumed += 1
            told["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        self.send(206 if asked else 200, rest, told, stop)

    def send(
        self,
        status: int,
        body: bytes,
        headers: Mapping[str, str] | None = None,
        stop: int | None = None,
    ) -> None:
        """Send a response; with `stop`, send only the first bytes of its body."""
        told = {"Content-Type": "application/json", "Content-Length": str(len(body))}
        self.send_response(status)
        for name, value in {**told, **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body[:stop])


def entry(name: str, content: bytes) -> dict[str, object]:
    """Return a file's entry in the hub's listings, both of a repository and of its tree."""
    found = {"rfilename": name, "size": len(content), "blobId": etag("", content)}
    if name.endswith(LARGE):
        digest = etag(name, content)
        found["lfs"] = {"oid": digest, "sha256": digest, "size": len(content), "pointerSize": 120}
    return {**found, "type": "file", "path": name, "oid": etag("", content)}


def etag(name: str, content: bytes) -> str:
    """Return a file's ETag: SHA-256 if it is large, else git's SHA-1 of the blob."""
    if name.endswith(LARGE):
        return hashlib.sha256(content).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
