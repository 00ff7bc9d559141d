"""What a repository of the hub holds, asked once, and again where the hub is busy."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from goft_cli.sharing.reasons import Item, Kind, is_transport_error, status

logger = logging.getLogger(__name__)

WAITS = (1.0, 2.0, 4.0)
"""Seconds before another try, unless the hub asks for more."""
LONGEST_WAIT_SECONDS = 60.0


@dataclass(frozen=True)
class Listing:
    """What a repository holds at one commit.

    Attributes:
        commit: 40 hexadecimal digits.
        sizes: bytes by file; 0 where the hub does not say.
        blobs: by file, the name under which the cache keeps its content.
    """

    commit: str
    sizes: Mapping[str, int]
    blobs: Mapping[str, str]


def listing(item: Item) -> Listing:
    """Ask the hub what a repository holds, again after a while where it is busy.

    Raises:
        OSError, ValueError: what the hub's library makes of the answer.
    """
    from huggingface_hub import constants

    return ask_patiently(constants.ENDPOINT, item.kind, item.name, item.revision)


@cache
def ask_patiently(endpoint: str, kind: Kind, name: str, revision: str) -> Listing:
    """Ask once per process and place; a later try may do better than one that failed."""
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
    """Ask the hub at an address what a repository holds.

    Raises:
        OSError, ValueError: what the hub's library makes of the answer.
    """
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
    """Tell whether a later try may do better."""
    code = status(error)
    return is_transport_error(error) if code is None else code == 429 or code >= 500


def asked_wait(error: BaseException) -> float:
    """Return the seconds that the hub asks to wait; 0 where it says nothing."""
    response = getattr(error, "response", None)
    value = response.headers.get("Retry-After", "") if response is not None else ""
    return float(value) if value.isdecimal() else 0.0
