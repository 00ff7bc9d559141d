"""Whether the hub can be reached, and why a model or dataset cannot be loaded, with a remedy."""

from __future__ import annotations

import errno
import json
import logging
import os
import queue
import shutil
import ssl
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from goft_cli.system.errors import GoftError

logger = logging.getLogger(__name__)

Kind = Literal["dataset", "model"]
TIMEOUT_SECONDS = 3.0
"""Longest wait for the hub's first answer."""
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
ROOM = 2**20
"""A disk with fewer free bytes counts as full."""
LOCKED = {errno.EACCES, errno.EPERM, errno.EROFS}
WEB_PAGE = (
    "the answer is not the hub's, perhaps a proxy's web page: log in to the network, or check "
    "HTTPS_PROXY and HF_ENDPOINT"
)


@dataclass(frozen=True)
class Item:
    """A repository of the hub at one revision.

    Attributes:
        kind: `model` or `dataset`.
        name: its hub id.
        revision: branch, tag or commit.
        remedy: what to do without it, as an imperative: `pass model.path=DIR`.
        cached: returns the names of the cached items of this kind.
    """

    kind: Kind
    name: str
    revision: str
    remedy: str
    cached: Callable[[], Iterable[str]]


def is_loading_error(error: BaseException) -> bool:
    """Tell whether an error is one that the libraries raise for a missing item."""
    return is_transport_error(error) or isinstance(error, OSError | ValueError | RuntimeError)


def is_transport_error(error: BaseException) -> bool:
    """Tell whether an error is one of the connection, for any version of httpx."""
    return type(error).__module__.partition(".")[0] in {"httpx", "httpx2", "httpcore", "httpcore2"}


def reason_of(error: BaseException, kind: Kind, name: str) -> str:
    """Return why an item cannot be loaded, by the first known cause of the error."""
    for fault in causes(error):
        reason = answered(fault, kind, name) or local_fault(fault)
        if reason:
            return reason
    return first_line(error)


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, or its class if there is no message."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:200].rstrip(".;: ")


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error, its cause, the cause of that, and so on."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def status(error: BaseException) -> int | None:
    """Return the HTTP status of an error or its causes."""
    for fault in causes(error):
        response = getattr(fault, "response", None)
        if response is not None:
            return response.status_code
    return None


def answered(fault: BaseException, kind: Kind, name: str) -> str | None:
    """Explain an error that the hub answered; None for any other error."""
    from huggingface_hub import constants
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    page = f"{constants.ENDPOINT}/{'datasets/' if kind == 'dataset' else ''}{name}"
    if isinstance(fault, GatedRepoError):
        return (
            f"it is gated: accept its licence on {page}, and run hf auth login with that account, "
            "or set HF_TOKEN"
        )
    if isinstance(fault, RepositoryNotFoundError):
        return (
            f"{constants.ENDPOINT} has no such {kind}, or it is private: check the name, or run "
            "hf auth login with an account that may read it"
        )
    if isinstance(fault, RevisionNotFoundError):
        return f"it has no such revision: choose one from {page}/commits/main"
    return by_status(fault) if isinstance(fault, HfHubHTTPError) else None


def by_status(fault: BaseException) -> str | None:
    """Explain an answer by its HTTP status."""
    code = status(fault) or 0
    if code == 401:
        in_environment = bool(os.environ.get("HF_TOKEN"))
        remedy = "renew or unset HF_TOKEN" if in_environment else "run hf auth login again"
        return f"the hub does not accept the token (401), which may have expired: {remedy}"
    if code == 403:
        return "the token may not read it (403): run hf auth login with another token"
    if code == 429:
        return (
            "the hub answers too many requests (429), also after several tries: wait some minutes, "
            "or run hf auth login, which raises the limit"
        )
    return f"the hub answers {code}: try again later" if code >= 500 else None


def local_fault(fault: BaseException) -> str | None:
    """Explain an error of this machine or of the network before the hub."""
    from huggingface_hub import constants
    from huggingface_hub.errors import FileMetadataError

    if isinstance(fault, json.JSONDecodeError | FileMetadataError):
        return WEB_PAGE
    number = fault.errno if isinstance(fault, OSError) else None
    # hf_xet, which loads large files, raises RuntimeError for every fault
    if number in FULL or (isinstance(fault, RuntimeError) and free_bytes() < ROOM):
        return (
            f"the disk of {constants.HF_HUB_CACHE} is full: free some space, or set HF_HOME=DIR "
            "on another disk"
        )
    if number in LOCKED:
        return f"{constants.HF_HUB_CACHE} cannot be written: set HF_HOME=DIR to a folder of yours"
    if is_transport_error(fault):
        return f"the connection broke ({type(fault).__name__}): start again; whole files are kept"
    return None


def free_bytes() -> int:
    """Return the free bytes on the disk of the hub's cache, whose folder may not exist yet."""
    from huggingface_hub import constants

    present = Path(constants.HF_HUB_CACHE).expanduser().absolute()
    while not present.exists():
        present = present.parent
    return shutil.disk_usage(present).free


@contextmanager
def require(item: Item) -> Iterator[None]:
    """Run a block that loads one item from the hub, or from the cache if the hub is unreachable."""
    reason = away(item.kind)
    if reason:
        logger.warning("%s; looking for %s %s in the cache", reason, item.kind, item.name)
    try:
        yield
    except Exception as error:
        if not is_loading_error(error):
            raise
        if reason is None:
            why = reason_of(error, item.kind, item.name)
        else:
            why = reason if isinstance(error, OSError) else f"{reason}; {first_line(error)}"
        raise refusal(item, why) from error


def refusal(item: Item, why: str) -> GoftError:
    """Return the error for an item that cannot be loaded."""
    return GoftError(
        f"{item.kind} {item.name} cannot be loaded: {why}; cached {item.kind}s: "
        f"{', '.join(sorted(item.cached())) or 'none'}",
        item.remedy,
    )


def away(kind: Kind) -> str | None:
    """Say why nothing can be downloaded, or None if it can."""
    # a failed probe has switched on offline mode, so it is the real reason
    failed = unreachable() if unreachable.cache_info().currsize else None
    return failed or _offline_by_choice(kind) or unreachable()


@cache
def unreachable() -> str | None:
    """Return why the hub cannot be reached, and switch to offline mode; None if it answers.

    It is asked once per process, for `TIMEOUT_SECONDS` at most.
    """
    from huggingface_hub import constants

    answers: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    # In a thread, because looking up a host name has no timeout.
    probe = threading.Thread(target=lambda: answers.put(_probe(constants.ENDPOINT)), daemon=True)
    probe.start()
    try:
        found = answers.get(timeout=TIMEOUT_SECONDS)
    except queue.Empty:
        found = f"no answer within {TIMEOUT_SECONDS:g} s"
    if found is None:
        return None
    go_offline()
    return f"the hub at {constants.ENDPOINT} cannot be reached ({found})"


def _probe(endpoint: str) -> str | None:
    """Return why the endpoint does not answer, or None; no credentials are sent."""
    request = urllib.request.Request(endpoint, method="HEAD")
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS):
            return None
    except urllib.error.HTTPError as error:
        # Any other answer shows that the endpoint is reachable; the download reports what it means.
        return f"it answers {error.code}" if error.code >= 500 else None
    except (OSError, ValueError) as error:
        cause = getattr(error, "reason", error)
        # The hub's library has its own certificates, so an error with ours does not count.
        return None if isinstance(cause, ssl.SSLError) else str(cause) or type(cause).__name__


def _offline_by_choice(kind: Kind) -> str | None:
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return "offline mode is on (HF_HUB_OFFLINE)"
    if kind == "dataset":
        from datasets import config

        if config.HF_HUB_OFFLINE:
            return "offline mode is on (HF_DATASETS_OFFLINE)"
    return None


def go_offline() -> None:
    """Switch on offline mode in the libraries, imported or not, and in child processes."""
    from huggingface_hub import constants

    os.environ["HF_HUB_OFFLINE"] = "1"
    constants.HF_HUB_OFFLINE = True
    loaded = sys.modules.get("datasets.config")
    if loaded is not None:
        vars(loaded).update(HF_HUB_OFFLINE=True, HF_DATASETS_OFFLINE=True)


def built() -> list[str]:
    """List the hub's data in the cache of `datasets`: folders `namespace___name/configuration`.

    Files that `datasets` read from this machine are there too, as `json/default-DIGEST`.
    """
    from datasets import config

    root = Path(config.HF_DATASETS_CACHE).expanduser()
    found = {path.parts[-5:-3] for path in root.glob("*/*/*/*/dataset_info.json")}
    of_hub = [pair for pair in found if "___" in pair[0] or not pair[1].startswith("default-")]
    return sorted(f"{name.replace('___', '/')} {subset}" for name, subset in of_hub)
