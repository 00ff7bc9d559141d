"""Why something of the hub cannot be had: the libraries' errors as a reason with its remedy."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Kind = Literal["dataset", "model"]
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


def explain(error: BaseException, kind: Kind, name: str) -> str:
    """Return why an item cannot be had, as far as a known cause is behind the error."""
    for fault in causes(error):
        reason = answered(fault, kind, name) or on_this_side(fault)
        if reason:
            return reason
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
        mend = "renew or unset HF_TOKEN" if in_environment else "run hf auth login again"
        return f"the hub does not accept the token (401), which may have expired: {mend}"
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
