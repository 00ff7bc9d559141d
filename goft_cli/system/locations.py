"""Paths: of the files in the package, of models, and of folders to read or write."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from goft_cli.system.errors import GoftError
from goft_cli.system.files import kind_of, refuse_specials, remove

PACKAGE = Path(__file__).resolve().parents[1]
ASSET_SCHEME = "asset:"
COMMIT = "commit"
"""The file in a built package that names the commit; `scripts/record_commit.py` writes it."""
MIN_FREE_BYTES = 64 * 2**20


def data_root() -> Path:
    """Return the folder that holds `configs/`: the installed package, or the source checkout."""
    for root in (PACKAGE, PACKAGE.parent):
        if (root / "configs" / "train.yaml").is_file():
            return root
    raise FileNotFoundError(f"no configs/train.yaml in {PACKAGE} or beside it; reinstall goft-cli")


def own_cache(name: str) -> Path:
    """Return a folder of this package in the user's cache folder; it need not exist."""
    home = os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()
    return Path(home, "goft-cli", name)


def asset_dir(name: str) -> Path:
    """Return the folder of a tiny model shipped with the package."""
    root = PACKAGE / "assets"
    if not (root / name / "config.json").is_file():
        known = ", ".join(sorted(entry.parent.name for entry in root.glob("*/config.json")))
        problem = f"model.path={ASSET_SCHEME}{name}: no such shipped model"
        raise GoftError(problem, f"expected {known}")
    return root / name


def model_location(path: str) -> Path | str:
    """Return a model folder as a Path, and a hub id as it was written."""
    if path.startswith(ASSET_SCHEME):
        return asset_dir(path.removeprefix(ASSET_SCHEME))
    folder = Path(path).expanduser()
    written_as_path = path.startswith((".", "~", os.sep)) or path.endswith(os.sep)
    if not folder.exists() and not written_as_path and path.count("/") <= 1:
        return path
    check_folder(path, key="model.path", content="a model")
    refuse_specials(folder)
    if not (folder / "config.json").is_file():
        found = ", ".join(sorted(entry.name for entry in folder.iterdir())[:8])
        raise GoftError(
            f"model.path={path}: found {found} but no config.json",
            "pass a folder written by save_pretrained, or a hub id",
        )
    return folder


def check_folder(path: str, *, key: str, content: str) -> None:
    """Refuse a folder that is missing, not a folder, or empty."""
    folder, remedy = Path(path).expanduser(), f"pass the folder that holds {content}"
    if not folder.exists():
        raise GoftError(f"{key}={path}: no such folder", remedy)
    if not folder.is_dir():
        raise GoftError(f"{key}={path} is {kind_of(folder) or 'a file'}", remedy)
    if not any(folder.iterdir()):
        raise GoftError(f"{key}={path}: the folder is empty", f"expected {content} in it")


def check_writable(folder: Path, key: str = "output_dir") -> None:
    """Refuse a run folder that cannot be created or written, or whose disk is full."""
    present = folder
    while not present.exists():
        if present.is_symlink():
            raise GoftError(f"{key}={folder}: {present} is a broken link", "repair the link first")
        present = present.parent
    if not present.is_dir():
        raise GoftError(f"{key}={folder}: {present} is a file", f"choose another {key}")
    if not os.access(present, os.W_OK | os.X_OK):
        raise GoftError(
            f"{key}={folder}: no permission to write in {present}", f"choose another {key}"
        )
    if (free := shutil.disk_usage(present).free) < MIN_FREE_BYTES:
        raise GoftError(
            f"{key}={folder}: {free / 2**20:.0f} MB free on its disk, expected at least "
            f"{MIN_FREE_BYTES // 2**20} MB for checkpoints",
            "free some space or choose another disk",
        )


def check_target(target: Path) -> None:
    """Refuse a folder that `whole_folder` could not put there: not empty, or not replaceable."""
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise GoftError(f"output_dir={target} is already there and not empty", "choose another one")
    check_writable(target)
    place = target.resolve()
    fixed = "it is a mount point" if os.path.ismount(place) else ""
    if place.exists() and not os.access(place.parent, os.W_OK | os.X_OK):
        fixed = f"no permission to write in {place.parent}"
    if fixed:
        problem = f"output_dir={target} cannot be replaced: {fixed}"
        raise GoftError(problem, f"pass output_dir={target / 'merged'}")


def check_output(file: Path) -> None:
    """Refuse an output file that could not be written, before the work begins."""
    if file.is_dir():
        raise GoftError(f"output={file} is a folder", "pass the name of a file")
    check_writable(file.parent, key="output")


@contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """Let a block fill a temporary folder, which is renamed to `target` when the block ends.

    An error or an interruption leaves no files behind, and the next start removes those of a killed
    process. Its lock, which ends with its process, refuses a second one.
    """
    given, target = target, target.resolve()
    aside = target.with_name(f".{target.name}.aside")
    aside.mkdir(parents=True, exist_ok=True)
    handle = os.open(aside, os.O_RDONLY)
    try:
        if not is_ours(handle, aside):
            problem = f"output_dir={given}: another process is writing it"
            raise GoftError(problem, "wait until it ends, or choose another output_dir")
        try:
            for path in aside.iterdir():
                remove(path)
            yield aside
            put_in_place(aside, target)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    finally:
        os.close(handle)


def is_ours(handle: int, folder: Path) -> bool:
    """Lock an open folder; tell whether this process has it, and it still has its name."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # the disk has no locks
        pass
    return folder.exists() and os.path.samestat(folder.stat(), os.fstat(handle))


def put_in_place(aside: Path, target: Path) -> None:
    """Rename a folder; refuse if somebody has put something else there."""
    try:
        aside.replace(target)
    except OSError as error:
        if error.errno not in {errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR}:
            raise
        problem = f"output_dir={target}: something else was written there meanwhile"
        raise GoftError(problem, "choose another output_dir") from error


def source_revision() -> str | None:
    """Return the git commit that the package was built from, or of the checkout.

    `+` follows it if the checkout has uncommitted changes.
    """
    if (recorded := PACKAGE / COMMIT).is_file():
        return recorded.read_text(encoding="utf-8").strip()
    root = PACKAGE.parent
    if not (root / ".git").exists():
        return None
    try:
        commit = git(root, "rev-parse", "HEAD")
        return commit + ("+" if git(root, "status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.SubprocessError):
        return None


def git(root: Path, *arguments: str) -> str:
    """Return the output of a git command."""
    command = ["git", "-C", str(root), *arguments]
    ran = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10)
    return ran.stdout.strip()
