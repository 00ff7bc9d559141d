"""SHA-256 of files; a digest is cached with the file's size, times and inode.

The user's cache folder has one small JSON file for each folder whose files were hashed. It is
written to a temporary file and renamed, so that processes can share it; a damaged one is ignored.
If two processes write at once, a digest may be lost and computed again, but is never wrong.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from goft_cli.system.errors import GoftError
from goft_cli.system.files import IMAGE, refuse_no_file, write_text
from goft_cli.system.locations import PACKAGE, data_root, own_cache

if TYPE_CHECKING:
    from torch import nn

CHUNK_BYTES = 2**20
SMALL_BYTES = 2**20
"""Largest file for which hashing is faster than a look-up in the cache, once it is read."""
SETTLED_NS = 2 * 10**9
"""A digest is cached only if its file is older than this: a newer one may change within a tick."""
KEPT_FOLDERS = 256
THREADS = 4
DIGITS = 16
ABSENT = "-" * DIGITS
SAMPLED_PER_TENSOR = 256
EXAMPLE = "lines such as images/000000.jpg 3"
LINE = re.compile(r"(?P<image>.+?)(?:\s+(?P<label>\d+(?:\.0*)?))?")
SHA256 = re.compile("[0-9a-f]{64}")
MADE = "made_from.json"
"""File beside pages and figures with the digest of their sources, by which goft reuses them."""

Identity = list[int]
"""Size, mtime, ctime, inode: a change is found even if the mtime was restored."""
Known = dict[str, tuple[Identity, str]]
"""Identity and digest by file name."""


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file of any size."""
    sha = hashlib.sha256()
    with path.open("rb") as content:
        while chunk := content.read(CHUNK_BYTES):
            sha.update(chunk)
    return sha.hexdigest()


def read_with_digest(path: Path) -> tuple[bytes, str]:
    """Return a file's content and the SHA-256 of exactly these bytes."""
    with path.open("rb") as file:
        content, status = file.read(), os.fstat(file.fileno())
    digest = hashlib.sha256(content).hexdigest()
    if len(content) > SMALL_BYTES and len(content) == status.st_size:
        remember(path.parent, {path.name: (identity(status), digest)})
    return content, digest


def digests(paths: Iterable[Path], *, fresh: bool = False) -> dict[Path, str]:
    """Return the SHA-256 of each file that exists; `fresh` reads every byte."""
    found: dict[Path, str] = {}
    there = sorted(path for path in dict.fromkeys(paths) if path.is_file())
    for folder, members in groupby(there, key=lambda path: path.parent):
        found |= _of_folder(folder, list(members), fresh=fresh)
    return found


def joined_digits(paths: Sequence[Path], *, fresh: bool = False) -> str:
    """Return the first digits of each file's SHA-256, concatenated: for thousands of images.

    Sixteen digits are enough to find any change, and keep the manifest readable.
    """
    found = digests(paths, fresh=fresh)
    return "".join(found.get(path, ABSENT)[:DIGITS] for path in paths)


def image_digests(path: Path, *, fresh: bool = False) -> str:
    """Return the digits of the SHA-256 of each image of a list, in its order."""
    return joined_digits([path.parent / name for name in image_names(path)], fresh=fresh)


def image_names(path: Path) -> list[str]:
    """Return the images that a list names, whether they exist or not."""
    return [line[IMAGE] for line in numbered_lines(path).values()]


def numbered_lines(path: Path) -> dict[int, re.Match[str]]:
    """Return the lines that are not blank, with their groups `image` and `label`, by number."""
    refuse_no_file(path)
    try:
        content = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        others = ", ".join(sorted(other.name for other in path.parent.glob("*.txt"))) or "none"
        raise GoftError(
            f"{path}: cannot be read ({error.strerror})",
            f"expected a list with {EXAMPLE}; the folder has {others}",
        ) from None
    except UnicodeDecodeError:
        raise GoftError(f"{path}: not UTF-8 text", f"expected {EXAMPLE}") from None
    texts = enumerate(content.split("\n"), start=1)
    lines = {number: line for number, text in texts if (line := LINE.fullmatch(text.strip()))}
    if not lines:
        raise GoftError(f"{path} is empty", f"expected {EXAMPLE}")
    return lines


def split_digits(joined: str) -> list[str | None]:
    """Return the digits of each file; None for a file that did not exist."""
    each = [joined[start : start + DIGITS] for start in range(0, len(joined), DIGITS)]
    return [None if digits == ABSENT else digits for digits in each]


def identity(status: os.stat_result) -> Identity:
    """Return numbers that are equal as long as a file is unchanged."""
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]


def remember(folder: Path, learnt: Mapping[str, tuple[Identity, str]]) -> None:
    """Save digests for later commands, if the cache folder is writable."""
    now = time.time_ns()
    settled = {
        name: entry for name, entry in learnt.items() if now - max(entry[0][1:3]) > SETTLED_NS
    }
    with suppress(OSError):
        if settled:
            present = {path.name for path in folder.iterdir()}
            kept = {name: entry for name, entry in recall(folder).items() if name in present}
            _write(_place(folder), kept | settled)


def recall(folder: Path) -> Known:
    """Return the cached digests of a folder's files; none if the cache is missing or damaged."""
    try:
        entries = json.loads(_place(folder).read_text(encoding="utf-8")).items()
        return {
            str(name): (entry[0], entry[1])
            for name, entry in entries
            if SHA256.fullmatch(entry[1]) and len(entry[0]) == 4
        }
    except (OSError, ValueError, RecursionError, AttributeError, TypeError, LookupError):
        return {}


def _of_folder(folder: Path, paths: list[Path], *, fresh: bool) -> dict[Path, str]:
    identities = {path: identity(path.stat()) for path in paths}
    known = {} if fresh else recall(folder)
    found: dict[Path, str] = {}
    for path in paths:
        entry = known.get(path.name)
        if entry and entry[0] == identities[path]:
            found[path] = entry[1]
        elif entry is None and not fresh and (name := _name_in_hub_cache(path)):
            found[path] = name
    unknown = [path for path in paths if path not in found]
    with ThreadPoolExecutor(THREADS) as pool:  # hashing releases the GIL
        found |= zip(unknown, pool.map(file_sha256, unknown), strict=True)
    learnt = {path.name: (identities[path], found[path]) for path in paths}
    if any(known.get(name) != entry for name, entry in learnt.items()):
        remember(folder, learnt)
    return found


def _name_in_hub_cache(path: Path) -> str | None:
    """Return the SHA-256 that is the name of a large file in the hub's cache."""
    blob = path.resolve()
    return blob.name if blob.parent.name == "blobs" and SHA256.fullmatch(blob.name) else None


def _place(folder: Path) -> Path:
    """Return the path of the cache file for a folder."""
    words = str(folder.resolve()).encode(errors="surrogateescape")
    return own_cache("digests") / f"{hashlib.sha256(words).hexdigest()[:32]}.json"


def _write(place: Path, known: Known) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    aside = place.with_name(f".{place.name}.{os.getpid()}.{threading.get_ident()}")
    try:
        aside.write_text(json.dumps(known), encoding="utf-8")
        aside.replace(place)
    finally:
        aside.unlink(missing_ok=True)
    oldest = sorted(place.parent.glob("*.json"), key=lambda path: path.stat().st_mtime_ns)
    for path in oldest[:-KEPT_FOLDERS]:
        path.unlink(missing_ok=True)


def program(*packages: str) -> str:
    """Return a digest of the code that makes pages: this package's files, others' versions."""
    from importlib.metadata import version  # late: it imports email

    parts = [PACKAGE, data_root() / "configs", data_root() / "recipes"]
    files = sorted({path for part in parts for path in part.rglob("*.[pyj]*") if path.is_file()})
    own = [(str(path), *identity(path.stat())[:2]) for path in files if path.suffix != ".pyc"]
    return digest_of([own, [(name, version(name)) for name in packages]])


def digest_of(content: object) -> str:
    """Return the SHA-256 of lists, dicts and scalars."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def is_made(folder: Path, source: str) -> bool:
    """Tell whether a folder's files are those that `note_made` recorded for this source."""
    try:
        recorded = json.loads((folder / MADE).read_text(encoding="utf-8"))
        files = _sha256(folder, recorded["files"])
        return None not in files.values() and recorded == {"source": source, "files": files}
    except (OSError, ValueError, TypeError, KeyError):
        return False


def note_made(folder: Path, source: str, names: Iterable[str]) -> None:
    """Record the digests of some files of a folder and of the source they were made from."""
    content = {"source": source, "files": _sha256(folder, names)}
    write_text(folder / MADE, json.dumps(content, indent=2) + "\n")


def _sha256(folder: Path, names: Iterable[str]) -> dict[str, str | None]:
    paths = {name: folder / name for name in names}
    found = digests(paths.values(), fresh=True)
    return {name: found.get(path) for name, path in paths.items()}


def in_modules(name: str, modules: Sequence[str]) -> bool:
    """Tell whether a parameter lies in one of the modules, by their last name."""
    return any(part in modules for part in name.split("."))


def fingerprint(model: nn.Module, head_modules: Sequence[str] = ()) -> str:
    """Return a digest of names, shapes and sampled values of the backbone, to identify it."""
    digest = hashlib.sha256()
    for name, parameter in sorted(model.named_parameters()):
        if in_modules(name, head_modules):
            continue
        sample = parameter.detach().flatten()[:: max(1, parameter.numel() // SAMPLED_PER_TENSOR)]
        digest.update(f"{name}{tuple(parameter.shape)}".encode())
        digest.update(sample.float().cpu().numpy().tobytes())
    return digest.hexdigest()
