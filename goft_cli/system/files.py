"""Files of users and runs: checked for their kind, read, written atomically, and recorded."""

from __future__ import annotations

import errno
import json
import os
import shutil
import stat
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import yaml
from yaml.reader import Reader

from goft_cli.system.errors import GoftError

KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
# Both loaders are safe: the one in C is ten times as fast, but not every PyYAML has it.
YAML_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
MAX_DEPTH = 64
"""Deepest nesting to accept: loaders recurse, and Python's recursion limit is some hundreds."""
PYTHON_TAG = "tag:yaml.org,2002:python/"
START_AGAIN = "delete the run folder and start again"
TRAIN_AGAIN = "copy it again, or train the run again with overwrite=true"
IMAGE, LABEL = "image", "label"
CONFIG, REPLACED = "config.yaml", ".replaced"
RECORD = "written.txt"
"""File in a run folder that names, one per line, the files and folders that only some runs have."""
ALWAYS = (
    "metrics.json",
    "adapter",
    "checkpoints",
    "curves.png",
    "eval.json",
    "history.json",
    "manifest.json",
    "run.log",
    "tensorboard",
    "wandb",
)
"""Files that any run may write, in the order of removal: a run without numbers is unfinished."""
FIRST_VERSION = (
    "predictions.*.jsonl",
    "predictions.json",
    "nbest_predictions.json",
    "answers.*.jsonl",
    "judgments.*.jsonl",
    "eval.*.json",
    "merged/merge_report.json",
    "lora-*/merge_report.json",
    "report/report.html",
)
"""Further files that goft-cli 0.1.0 wrote; it kept no record."""


def kind_of(path: Path) -> str | None:
    """Name the kind of a path, such as `a folder`; None for a file or if nothing is there."""
    try:
        return KINDS.get(stat.S_IFMT(path.stat().st_mode))
    except (OSError, ValueError):
        return None


def refuse_no_file(path: Path) -> None:
    """Refuse a path that is not a file; a missing one is reported by the code that opens it."""
    if kind := kind_of(path):
        raise GoftError(f"{path} is {kind}, expected a file", "put a regular file there")


def refuse_specials(folder: Path) -> None:
    """Refuse a folder that holds anything except files and folders."""
    for entry in sorted(folder.iterdir()):
        if not entry.is_dir():
            refuse_no_file(entry)


def read_checked(path: Path, remedy: str = "correct the line") -> str:
    """Return the text of a YAML file that is safe to load."""
    refuse_no_file(path)
    content = path.read_bytes()
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        found = line, f"byte 0x{content[error.start]:02x} is not UTF-8"
    else:
        found = find_fault(text)
        if found is None:
            return text
    line, reason = found
    raise GoftError(f"{path}, line {line}: not readable as YAML ({reason})", remedy)


def find_fault(text: str) -> tuple[int, str] | None:
    """Return the line and the reason why a YAML text must not be loaded; None if it can be."""
    strange = Reader.NON_PRINTABLE.search(text)
    if strange:
        line = text.count("\n", 0, strange.start()) + 1
        return line, f"the character U+{ord(strange[0]):04X} is not allowed"
    try:
        return find_trap(yaml.parse(text, Loader=YAML_LOADER))
    except yaml.MarkedYAMLError as error:
        return line_of(error), str(error.problem)


def find_trap(events: Iterable[yaml.Event]) -> tuple[int, str] | None:
    """Return the line and a description of valid YAML that would crash or abuse a loader."""
    within: list[str | None] = []
    named: set[str | None] = set()
    for event in events:
        line = event.start_mark.line + 1
        tag = getattr(event, "tag", None) or ""
        if tag.startswith(PYTHON_TAG):
            return line, f"!!{tag.rpartition(',2002:')[2]} would make a Python object"
        if isinstance(event, yaml.AliasEvent) and event.anchor in within:
            return line, f"the alias *{event.anchor} is inside its own anchor"
        if isinstance(event, yaml.AliasEvent) and event.anchor not in named:
            return line, f"the alias *{event.anchor} has no anchor"
        named.add(getattr(event, "anchor", None))
        if isinstance(event, yaml.CollectionStartEvent):
            within.append(event.anchor)
        elif isinstance(event, yaml.CollectionEndEvent):
            within.pop()
        if len(within) > MAX_DEPTH:
            return line, f"nested more than {MAX_DEPTH} levels deep"
    return None


def line_of(error: yaml.MarkedYAMLError) -> int:
    """Return the line at which a loader failed."""
    mark = error.problem_mark or error.context_mark
    return mark.line + 1 if mark else 1


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a configuration that an earlier run wrote."""
    text = read_checked(path, START_AGAIN)
    try:
        plain = yaml.load(text, Loader=YAML_LOADER)
    except (yaml.YAMLError, ValueError) as error:  # such as a date in a thirteenth month
        raise GoftError(f"{path}: not readable as YAML", START_AGAIN) from error
    if not isinstance(plain, dict):
        raise GoftError(f"{path}: found no configuration", START_AGAIN)
    return plain


class Record(dict[str, Any]):
    """An object of a JSON file that an earlier run wrote; a missing key is a GoftError."""

    path: Path

    def __missing__(self, key: str) -> Any:  # noqa: ANN401 - it returns nothing
        raise GoftError(f"{self.path}: damaged, an entry {key} is missing", TRAIN_AGAIN)


def read_json(path: Path) -> dict[str, Any]:
    """Read a file that an earlier run wrote."""

    def record(plain: dict[str, Any]) -> Record:
        made = Record(plain)
        made.path = path
        return made

    refuse_no_file(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"), object_hook=record)
    except FileNotFoundError as error:
        raise GoftError(f"{path}: no such file", TRAIN_AGAIN) from error
    except (ValueError, RecursionError) as error:
        raise GoftError(f"{path}: not readable as JSON", TRAIN_AGAIN) from error
    if not isinstance(content, dict):
        raise GoftError(f"{path}: found no JSON object", TRAIN_AGAIN)
    return content


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a file whole or not at all."""
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def write_text(path: Path, content: str) -> None:
    """Write a file whole or not at all."""
    write_bytes(path, content.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    with written_aside(path) as file:
        file.write(content)


@contextmanager
def written_aside(path: Path) -> Iterator[BinaryIO]:
    """Write to a temporary file and rename it: a full disk or a kill leaves the old file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    try:
        with aside.open("wb") as file:
            yield file
        aside.replace(path)
    except OSError as error:
        if error.errno == errno.ENOSPC:  # it names no file, as writing has only a number
            error.filename = str(path)
        raise
    finally:
        aside.unlink(missing_ok=True)


def begin_record(folder: Path) -> None:
    """Start the record of a run, with the files of goft-cli 0.1.0 if that version made the run."""
    if not (folder / RECORD).exists():
        folder.mkdir(parents=True, exist_ok=True)
        append(folder, recorded(folder))


def note(folder: Path, *names: str) -> None:
    """Record names before they are written into a run folder; other folders have no record."""
    if (folder / CONFIG).is_file():
        begin_record(folder)
        append(folder, set(names) - recorded(folder))


def append(folder: Path, names: set[str]) -> None:
    """Add names to the record; two verbs may do so at once."""
    with (folder / RECORD).open("a", encoding="utf-8") as record:
        record.writelines(f"{name}\n" for name in sorted(names))


def recorded(folder: Path) -> set[str]:
    """Return the names in the record, or the files of goft-cli 0.1.0, which kept none."""
    if (folder / RECORD).is_file():
        return set((folder / RECORD).read_text(encoding="utf-8").splitlines())
    found = [path for pattern in FIRST_VERSION for path in folder.glob(pattern)]
    return {path.relative_to(folder).parts[0] for path in found}


def clear(folder: Path) -> None:
    """Remove what goft wrote into a run folder, except its configuration, and empty the record.

    Folders that goft wrote, such as the adapter or a merged model, are removed with their content.
    """
    for path in written(folder):
        remove(path)
    (folder / RECORD).write_text("", encoding="utf-8")


def written(folder: Path) -> list[Path]:
    """Return the paths that goft may have written into a run folder, except its configuration."""
    # a name that leads elsewhere, such as "" or "..", is not goft's
    names = [name for name in sorted(recorded(folder)) if name.strip(".") and "/" not in name]
    return [folder / name for name in (*ALWAYS, *names)]


def remove(path: Path) -> None:
    """Remove a file, a link or a whole folder, if it exists."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def put_aside(folder: Path) -> None:
    """Move what goft wrote into a run folder to `.replaced` there, and empty the record.

    The configuration is moved first and put back last: where it lacks, a kill came between.
    """
    (folder / REPLACED).mkdir()
    for path in [folder / CONFIG, *written(folder), folder / RECORD]:
        if path.exists() or path.is_symlink():
            path.rename(folder / REPLACED / path.name)
    (folder / RECORD).write_text("", encoding="utf-8")


def put_back(folder: Path) -> None:
    """Undo `put_aside`, if there was one."""
    if (folder / REPLACED).is_dir():
        (folder / CONFIG).unlink(missing_ok=True)
        for path in sorted((folder / REPLACED).iterdir(), key=lambda path: path.name == CONFIG):
            remove(folder / path.name)
            path.rename(folder / path.name)
        (folder / REPLACED).rmdir()
