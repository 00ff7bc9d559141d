"""The Hugging Face hub, when it is there and when it is not.

The libraries wait through all their retries before they say that there is no network. `require`
asks once, briefly, and if nobody answers lets them look at their caches only.
"""

from __future__ import annotations

import logging
import os
import queue
import ssl
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from goft_cli.errors import GoftError
from goft_cli.sharing.reasons import Item, Kind, explain, is_loading_error

logger = logging.getLogger(__name__)

TIMEOUT_SECONDS = 3.0


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
        offline = reason and offline_reason(error, reason)
        raise refusal(item, offline or explain(error, item.kind, item.name)) from error


def refusal(item: Item, why: str) -> GoftError:
    """Return what to say of an item that is not to be had."""
    return GoftError(
        f"{item.kind} {item.name} cannot be loaded: {why}; cached {item.kind}s: "
        f"{', '.join(sorted(item.cached())) or 'none'}",
        item.remedy,
    )


def away(kind: Kind) -> str | None:
    """Say why nothing can be downloaded, or None if it can."""
    # a probe that failed has switched offline mode on by itself, and is the better reason
    failed = unreachable() if unreachable.cache_info().currsize else None
    return failed or _offline_by_choice(kind) or unreachable()


@cache
def unreachable() -> str | None:
    """Ask the hub once per process whether it is there, and switch to offline mode if not.

    Returns:
        why the hub cannot be reached, at the latest after 3 seconds; None if it answers.
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


def offline_reason(error: Exception, reason: str) -> str:
    """Return why the hub is not asked, with what else the libraries complain of."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return reason if isinstance(error, OSError) else f"{reason}; {lines[0][:200].rstrip('.;: ')}"


def built() -> list[str]:
    """Read what datasets has built: folders `namespace___name/configuration/version/revision`."""
    from datasets import config

    root = Path(config.HF_DATASETS_CACHE).expanduser()
    found = {path.parts[-5:-3] for path in root.glob("*/*/*/*/dataset_info.json")}
    return sorted(f"{name.replace('___', '/')} {subset}" for name, subset in found)
