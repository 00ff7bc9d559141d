"""One item of the hub as a folder of the cache, so that whatever follows reads files.

What is in the folder needs no network, and the folder's name is the commit.
"""

from __future__ import annotations

import glob
import logging
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from goft_cli.errors import GoftError
from goft_cli.sharing import hub
from goft_cli.sharing.listing import listing
from goft_cli.sharing.reasons import Item, Kind, explain, free_bytes, is_loading_error

logger = logging.getLogger(__name__)

COMMIT = re.compile("[0-9a-f]{40}")


@dataclass(frozen=True)
class Files:
    """Which files of a repository are wanted, by patterns of `fnmatch`, whose `*` passes a `/`.

    Attributes:
        allow: a file matches one of them.
        ignore: and none of these.
        announced: whether the download is worth a line and a bar.
    """

    allow: Sequence[str]
    ignore: Sequence[str] = ()
    announced: bool = False

    @staticmethod
    def named(names: Iterable[str], *, announced: bool = False) -> Files:
        """Return exactly these files."""
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
            reason, cause = explain(error, item.kind, item.name), error
    folder = find(item, files)
    if folder is None:
        raise hub.refusal(item, reason) from cause
    warn_once(f"{reason}; taking {item.kind} {item.name} from the cache")
    return folder


def find(item: Item, files: Files) -> Path | None:
    """Return the folder of the cache if, as far as it is known, all wanted files are in it."""
    from huggingface_hub import snapshot_download

    try:
        found = snapshot_download(
            item.name,
            repo_type=item.kind,
            revision=item.revision,
            allow_patterns=list(files.allow),
            ignore_patterns=list(files.ignore),
            local_files_only=True,
        )
    except (OSError, ValueError):
        return None
    return Path(found)


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
        reason = explain(error, item.kind, item.name)
        raise hub.refusal(item, reason) from error


def commit_of(folder: Path) -> str | None:
    """Return the commit that a folder of the hub's cache holds; None for any other folder."""
    is_snapshot = folder.parent.name == "snapshots" and COMMIT.fullmatch(folder.name)
    return folder.name if is_snapshot else None


def cached(kind: Kind) -> list[Path]:
    """Return the folders of all commits in the cache."""
    from huggingface_hub import constants

    return sorted(Path(constants.HF_HUB_CACHE).expanduser().glob(f"{kind}s--*/snapshots/*"))


def name_of(folder: Path) -> str:
    """Return the hub id of which a folder of the cache holds a commit."""
    return folder.parent.parent.name.partition("--")[2].replace("--", "/")


def _download(item: Item, files: Files) -> Path:
    from huggingface_hub import constants, snapshot_download
    from huggingface_hub.utils import filter_repo_objects

    listed = listing(item)
    wanted = filter_repo_objects(
        listed.sizes, allow_patterns=list(files.allow), ignore_patterns=list(files.ignore)
    )
    store = Path(constants.HF_HUB_CACHE) / f"{item.kind}s--{item.name.replace('/', '--')}"
    absent = [name for name in wanted if not (store / "blobs" / listed.blobs[name]).is_file()]
    size = sum(listed.sizes[name] for name in absent)
    options = {
        "repo_type": item.kind,
        "revision": item.revision,
        "allow_patterns": list(files.allow),
        "ignore_patterns": list(files.ignore),
    }
    check_room(item, size)
    if not (absent and files.announced):
        return Path(snapshot_download(item.name, **options))
    from goft_cli.progress import downloading

    with downloading(item.name, size) as bars:
        return Path(snapshot_download(item.name, **options, tqdm_class=bars))


def check_room(item: Item, size: int) -> None:
    """Refuse a download that the disk has no room for, before it begins.

    Args:
        item: what is downloaded.
        size: bytes to come.
    """
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
    """Say it once, however many files are looked for."""
    logger.warning(sentence)
