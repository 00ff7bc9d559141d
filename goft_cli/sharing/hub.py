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
from typing import Literal

from goft_cli.errors import GoftError

logger = logging.getLogger(__name__)

Kind = Literal["dataset", "model"]
TIMEOUT_SECONDS = 3.0


@contextmanager
def require(kind: Kind, name: str, *, remedy: str) -> Iterator[None]:
    """Run a block that loads one item from the hub, or from the cache when the hub is away.

    Args:
        kind: what the item is.
        name: its hub id.
        remedy: what to do instead, as an imperative: `pass model.path=DIR`.

    Raises:
        GoftError: the item can be neither downloaded nor found in the cache; the sentence has the
            reason, what is cached, and the remedy.
    """
    reason = away(kind)
    if reason:
        logger.warning("%s; looking for %s %s in the cache", reason, kind, name)
    try:
        yield
    except Exception as error:
        if not _is_loading_error(error):
            raise
        raise _refusal(kind, name, _explain(error, reason), remedy) from error


def check_available(kind: Kind, name: str, *, remedy: str) -> None:
    """Refuse an item that is neither cached nor to be had, before anything heavy is imported.

    Args:
        kind: what the item is.
        name: its hub id.
        remedy: what to do instead, as an imperative.

    Raises:
        GoftError: the cache has no such item, and there is no way to the hub, or no permission.
    """
    reason = away(kind)
    if name in (item.partition(" ")[0] for item in cached(kind)):
        return
    reason = reason or _locked(kind, name)
    if reason:
        raise _refusal(kind, name, reason, remedy)


def _locked(kind: Kind, name: str) -> str | None:
    """Ask the hub whether a licence is still to be accepted; anything else amiss shows later."""
    from huggingface_hub import HfApi

    try:
        HfApi().auth_check(name, repo_type=kind)
    except Exception as error:
        if not _is_loading_error(error):
            raise
        return _explain(error, None) if _is_gated(error) else None
    return None


def _refusal(kind: Kind, name: str, why: str, remedy: str) -> GoftError:
    return GoftError(
        f"{kind} {name} cannot be loaded: {why}; "
        f"cached {kind}s: {', '.join(cached(kind)) or 'none'}; {remedy}"
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


def cached(kind: Kind) -> list[str]:
    """Name what the cache of this machine holds; of datasets, with their configurations."""
    return _cached_datasets() if kind == "dataset" else _cached_models()


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


def _is_loading_error(error: Exception) -> bool:
    """Tell what the libraries raise for an item that is not there from everything else."""
    is_transport_error = type(error).__module__.partition(".")[0] in {"httpx", "httpx2"}
    return is_transport_error or isinstance(error, (OSError, ValueError, RuntimeError))


def _is_gated(error: BaseException | None) -> bool:
    """Tell whether a gate of the hub is behind an error of the libraries."""
    from huggingface_hub.errors import GatedRepoError

    while error is not None and not isinstance(error, GatedRepoError):
        error = error.__cause__ or error.__context__
    return error is not None


def _explain(error: Exception, reason: str | None) -> str:
    if _is_gated(error):
        return (
            "it is gated: accept its licence on its hub page and run hf auth login, or set HF_TOKEN"
        )
    lines = str(error).strip().splitlines() or [type(error).__name__]
    sentence = lines[0][:200].rstrip(".;: ")
    if reason is None:
        return sentence
    return reason if isinstance(error, OSError) else f"{reason}; {sentence}"


def _cached_models() -> list[str]:
    from huggingface_hub import CacheNotFound, constants, scan_cache_dir

    try:
        repos = scan_cache_dir(constants.HF_HUB_CACHE).repos
    except CacheNotFound:
        return []
    return sorted(repo.repo_id for repo in repos if repo.repo_type == "model")


def _cached_datasets() -> list[str]:
    """Read the folder names `namespace___name/configuration/version/revision`."""
    from datasets import config

    root = Path(config.HF_DATASETS_CACHE).expanduser()
    found = {path.parts[-5:-3] for path in root.glob("*/*/*/*/dataset_info.json")}
    return sorted(f"{name.replace('___', '/')} {subset}" for name, subset in found)
