"""Whether the hub can be asked, and why something of it cannot be had, with a remedy."""

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
"""Longest wait for a sign of the hub."""
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
ROOM = 2**20
"""Bytes; with less free than this, a disk is full."""
LOCKED = {errno.EACCES, errno.EPERM, errno.EROFS}
WEB_PAGE = (
    "what answers is no hub but perhaps the web page of a proxy: log in to the network, or check "
    "HTTPS_PROXY and HF_ENDPOINT"
)


@dataclass(frozen=True)
class Item:
    """A repository of the hub at one revision.

    Attributes:
        kind: what is in it.
        name: its hub id.
        revision: branch, tag or commit.
        remedy: what to do without it, as an imperative: `pass model.path=DIR`.
        cached: names what the caches hold of this kind.
    """

    kind: Kind
    name: str
    revision: str
    remedy: str
    cached: Callable[[], Iterable[str]]


def is_loading_error(error: BaseException) -> bool:
    """Tell what the libraries raise for an item that is not there from everything else."""
    return is_transport_error(error) or isinstance(error, OSError | ValueError | RuntimeError)


def is_transport_error(error: BaseException) -> bool:
    """Tell an error of the connection, whichever version of httpx the hub's library uses."""
    return type(error).__module__.partition(".")[0] in {"httpx", "httpx2", "httpcore", "httpcore2"}


def reason_of(error: BaseException, kind: Kind, name: str) -> str:
    """Return why an item cannot be had, as far as a known cause is behind the error."""
    for fault in causes(error):
        reason = answered(fault, kind, name) or on_this_side(fault)
        if reason:
            return reason
    return first_line(error)


def first_line(error: BaseException) -> str:
    """Return the beginning of what an error says, or its class where it says nothing."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:200].rstrip(".;: ")


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error, what it was raised from, and so on."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def status(error: BaseException) -> int | None:
    """Return the HTTP status that is behind an error."""
    for fault in causes(error):
        response = getattr(fault, "response", None)
        if response is not None:
            return response.status_code
    return None


def answered(fault: BaseException, kind: Kind, name: str) -> str | None:
    """Explain an answer of the hub; None if the fault is none."""
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
        return f"it has no such revision: choose one of {page}/commits/main"
    return by_status(fault) if isinstance(fault, HfHubHTTPError) else None


def by_status(fault: BaseException) -> str | None:
    """Explain an answer by its status alone."""
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


def on_this_side(fault: BaseException) -> str | None:
    """Explain what stands in the way before the hub, or on this machine."""
    from huggingface_hub import constants
    from huggingface_hub.errors import FileMetadataError

    if isinstance(fault, json.JSONDecodeError | FileMetadataError):
        return WEB_PAGE
    number = fault.errno if isinstance(fault, OSError) else None
    # hf_xet, which loads large files, raises RuntimeError for whatever happens to it
    if number in FULL or (isinstance(fault, RuntimeError) and free_bytes() < ROOM):
        return (
            f"there is no more room on the disk of {constants.HF_HUB_CACHE}: free some space, or "
            "set HF_HOME=DIR on another disk"
        )
    if number in LOCKED:
        return f"{constants.HF_HUB_CACHE} cannot be written: set HF_HOME=DIR to a folder of yours"
    if is_transport_error(fault):
        return f"the connection broke ({type(fault).__name__}): start again, what is here is kept"
    return None


def free_bytes() -> int:
    """Return how much fits on the disk of the hub's cache, which may be still to be made."""
    from huggingface_hub import constants

    present = Path(constants.HF_HUB_CACHE).expanduser().absolute()
    while not present.exists():
        present = present.parent
    return shutil.disk_usage(present).free


@contextmanager
def require(item: Item) -> Iterator[None]:
    """Run a block that loads one item from the hub, or from the cache when the hub is away."""
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
    """Return what to say of an item that is not to be had."""
    return GoftError(
        f"{item.kind} {item.name} cannot be loaded: {why}; cached {item.kind}s: "
        f"{', '.join(sorted(item.cached())) or 'none'}",
        item.remedy,
    )


def away(kind: Kind) -> str | None:
    """Say why nothing can be downloaded, or None if it can."""
    # a failed probe has switched offline mode on, and is the better reason
    failed = unreachable() if unreachable.cache_info().currsize else None
    return failed or _offline_by_choice(kind) or unreachable()


@cache
def unreachable() -> str | None:
    """Return why the hub cannot be reached, and switch to offline mode; None if it answers.

    It is asked once per process, for `TIMEOUT_SECONDS` at most.
    """
    from huggingface_hub import constants

    answers: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    # A thread, because looking up a host name knows no timeout of its own.
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
    """Return what stands in the way of the endpoint; no credentials are sent."""
    request = urllib.request.Request(endpoint, method="HEAD")
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS):
            return None
    except urllib.error.HTTPError as error:
        # Any other answer means that somebody is there; the download will say what it means.
        return f"it answers {error.code}" if error.code >= 500 else None
    except (OSError, ValueError) as error:
        cause = getattr(error, "reason", error)
        # The library brings its own certificates, so ours do not decide.
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
    """Tell the libraries, those not yet imported, and the processes started from this one."""
    from huggingface_hub import constants

    os.environ["HF_HUB_OFFLINE"] = "1"
    constants.HF_HUB_OFFLINE = True
    loaded = sys.modules.get("datasets.config")
    if loaded is not None:
        vars(loaded).update(HF_HUB_OFFLINE=True, HF_DATASETS_OFFLINE=True)


def built() -> list[str]:
    """Read what datasets has built: folders `namespace___name/configuration/version/revision`."""
    from datasets import config

    root = Path(config.HF_DATASETS_CACHE).expanduser()
    found = {path.parts[-5:-3] for path in root.glob("*/*/*/*/dataset_info.json")}
    return sorted(f"{name.replace('___', '/')} {subset}" for name, subset in found)
