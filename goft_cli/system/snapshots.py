"""Repositories of the hub: the list of their files, and the files, cached or downloaded."""

from __future__ import annotations

import glob
import logging
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from goft_cli.system import hub
from goft_cli.system.errors import GoftError
from goft_cli.system.hub import (
    Item,
    Kind,
    free_bytes,
    is_loading_error,
    is_transport_error,
    reason_of,
    status,
)

logger = logging.getLogger(__name__)

COMMIT = re.compile("[0-9a-f]{40}")
WAITS = (1.0, 2.0, 4.0)
"""Seconds before another try, unless the hub asks for more."""
LONGEST_WAIT_SECONDS = 60.0


@dataclass(frozen=True)
class Listing:
    """The files of a repository at one commit.

    Attributes:
        commit: 40 hexadecimal digits.
        sizes: bytes of each file; 0 if the hub does not say.
        blobs: name of each file's content in the cache.
    """

    commit: str
    sizes: Mapping[str, int]
    blobs: Mapping[str, str]


def listing(item: Item) -> Listing:
    """Ask the hub for the files of a repository; retry if the hub is busy.

    Raises:
        OSError, ValueError: from the hub's library.
    """
    from huggingface_hub import constants

    return ask_patiently(constants.ENDPOINT, item.kind, item.name, item.revision)


@cache
def ask_patiently(endpoint: str, kind: Kind, name: str, revision: str) -> Listing:
    """Ask once per process and endpoint; retry after errors that may be temporary."""
    for wait in WAITS:
        try:
            return ask(endpoint, kind, name, revision)
        except Exception as error:
            if not may_pass(error):
                raise
            seconds = max(wait, min(asked_wait(error), LONGEST_WAIT_SECONDS))
            cause = status(error) or type(error).__name__
            logger.warning("%s %s: %s; asking again in %g s", kind, name, cause, seconds)
            time.sleep(seconds)
    return ask(endpoint, kind, name, revision)


def ask(endpoint: str, kind: Kind, name: str, revision: str) -> Listing:
    """Ask the hub at an address for the files of a repository."""
    from huggingface_hub import HfApi

    api = HfApi(endpoint=endpoint)
    look = api.model_info if kind == "model" else api.dataset_info
    info = look(name, revision=revision, files_metadata=True)
    if info.sha is None:
        raise ValueError("the hub names no commit")
    files = {file.rfilename: file for file in info.siblings or []}
    return Listing(
        commit=info.sha,
        sizes={name: file.size or 0 for name, file in files.items()},
        blobs={
            name: (file.lfs.sha256 if file.lfs else file.blob_id) or ""
            for name, file in files.items()
        },
    )


def may_pass(error: BaseException) -> bool:
    """Tell whether an error may be temporary."""
    code = status(error)
    return is_transport_error(error) if code is None else code == 429 or code >= 500


def asked_wait(error: BaseException) -> float:
    """Return the seconds that the hub asks to wait; 0 if it does not say."""
    response = getattr(error, "response", None)
    value = response.headers.get("Retry-After", "") if response is not None else ""
    return float(value) if value.isdecimal() else 0.0


@dataclass(frozen=True)
class Files:
    """Patterns for files of a repository, as in `fnmatch`, whose `*` also matches `/`.

    Attributes:
        allow: a wanted file matches one of these.
        ignore: a wanted file matches none of these.
        announced: whether to show the download with a line and a progress bar.
    """

    allow: Sequence[str]
    ignore: Sequence[str] = ()
    announced: bool = False

    @staticmethod
    def named(names: Iterable[str], *, announced: bool = False) -> Files:
        """Return patterns that match exactly these files."""
        return Files([glob.escape(name) for name in names], announced=announced)


def bring(item: Item, files: Files) -> Path:
    """Return the folder that holds the wanted files, and download those that the cache lacks."""
    cause: Exception | None = None
    reason = hub.away(item.kind)
    if reason is None:
        try:
            return _download(item, files)
        except Exception as error:
            if not is_loading_error(error):
                raise
            reason, cause = reason_of(error, item.kind, item.name), error
    folder = find(item, files)
    if folder is None:
        raise hub.refusal(item, reason) from cause
    warn_once(f"{reason}; taking {item.kind} {item.name} from the cache")
    return folder


def find(item: Item, files: Files) -> Path | None:
    """Return the cache's folder if all wanted files are in it, as far as the cache knows."""
    try:
        return snapshot(item, files, local_files_only=True)
    except (OSError, ValueError):
        return None


def snapshot(item: Item, files: Files, **options: Any) -> Path:  # noqa: ANN401 - the library's
    """Return the cache's folder after the hub's library has put the wanted files into it."""
    from huggingface_hub import snapshot_download

    folder = snapshot_download(
        item.name,
        repo_type=item.kind,
        revision=item.revision,
        allow_patterns=list(files.allow),
        ignore_patterns=list(files.ignore),
        **options,
    )
    return Path(folder)


def contents(item: Item) -> list[str]:
    """Name the files of a repository."""
    reason = hub.away(item.kind)
    if reason is not None:
        raise hub.refusal(item, reason)
    try:
        return sorted(listing(item).sizes)
    except Exception as error:
        if not is_loading_error(error):
            raise
        raise hub.refusal(item, reason_of(error, item.kind, item.name)) from error


def commit_of(folder: Path) -> str | None:
    """Return the commit that a folder of the hub's cache holds; None for any other folder."""
    is_snapshot = folder.parent.name == "snapshots" and COMMIT.fullmatch(folder.name)
    return folder.name if is_snapshot else None


def cached(kind: Kind) -> list[Path]:
    """Return the folders of all commits in the cache."""
    from huggingface_hub import constants

    return sorted(Path(constants.HF_HUB_CACHE).expanduser().glob(f"{kind}s--*/snapshots/*"))


def name_of(folder: Path) -> str:
    """Return the hub id of a snapshot folder of the cache."""
    return folder.parent.parent.name.partition("--")[2].replace("--", "/")


def _download(item: Item, files: Files) -> Path:
    from huggingface_hub import constants
    from huggingface_hub.utils import filter_repo_objects

    listed = listing(item)
    wanted = filter_repo_objects(
        listed.sizes, allow_patterns=list(files.allow), ignore_patterns=list(files.ignore)
    )
    store = Path(constants.HF_HUB_CACHE) / f"{item.kind}s--{item.name.replace('/', '--')}"
    absent = [name for name in wanted if not (store / "blobs" / listed.blobs[name]).is_file()]
    size = sum(listed.sizes[name] for name in absent)
    check_room(item, size)
    if not (absent and files.announced):
        return snapshot(item, files)
    from goft_cli.system.screen import downloading

    with downloading(item.name, size) as bars:
        return snapshot(item, files, tqdm_class=bars)


def check_room(item: Item, size: int) -> None:
    """Refuse a download of this size, before it starts, if the disk has too little space."""
    from huggingface_hub import constants

    free = free_bytes()
    if size > free:
        raise GoftError(
            f"{item.kind} {item.name}: {size / 1e6:,.0f} MB to download, but {free / 1e6:,.0f} MB "
            f"free on the disk of {constants.HF_HUB_CACHE}",
            "free some space, or set HF_HOME=DIR on another disk",
        )


@cache
def warn_once(sentence: str) -> None:
    """Log a warning once per process."""
    logger.warning(sentence)
