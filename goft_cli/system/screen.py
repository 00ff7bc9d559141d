"""Output while a command works: log messages and progress bars."""

from __future__ import annotations

import logging
import os
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.filesize import decimal
from rich.logging import RichHandler
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from goft_cli.system.secrets import Redaction

if TYPE_CHECKING:
    from tqdm.auto import tqdm

LIBRARIES = ("transformers", "datasets", "accelerate", "peft", "evaluate", "lm_eval", "py.warnings")
CONTROL_CODES = re.compile(r"\x1b\[[\d;]*m")
"""Escape codes for colour and bold in a terminal."""
console = Console(stderr=True)


@contextmanager
def listening(handlers: Sequence[tuple[str, logging.Handler]]) -> Iterator[None]:
    """Add handlers to loggers, given by name, within a block."""
    for name, handler in handlers:
        logging.getLogger(name).addHandler(handler)
    try:
        yield
    finally:
        for name, handler in handlers:
            logging.getLogger(name).removeHandler(handler)


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Keep the libraries' progress bars, reports and warnings off the screen; imports them."""
    import transformers

    transformers.logging.get_verbosity()  # this sets its logger up
    reports = logging.getLogger("transformers")
    handlers = list(reports.handlers)
    transformers.logging.disable_default_handler()
    silence = [(name, logging.NullHandler()) for name in LIBRARIES]
    with without_bars(), listening(silence), warnings.catch_warnings():
        logging.captureWarnings(True)
        try:
            yield
        finally:
            logging.captureWarnings(False)
            reports.handlers[:] = handlers  # for the caller of `goft_cli.train`


@contextmanager
def without_bars() -> Iterator[None]:
    """Switch off the libraries' progress bars within a block."""
    import datasets
    import transformers
    from huggingface_hub import utils as hub

    theirs = transformers.logging
    switches = [
        (theirs.is_progress_bar_enabled(), theirs.enable_progress_bar, theirs.disable_progress_bar),
        *(
            (
                not one.are_progress_bars_disabled(),
                one.enable_progress_bars,
                one.disable_progress_bars,
            )
            for one in (datasets, hub)
        ),
    ]
    for _, _, switch_off in switches:
        switch_off()
    try:
        yield
    finally:
        for was_on, switch_on, switch_off in switches:
            (switch_on if was_on else switch_off)()


@contextmanager
def silent() -> Iterator[None]:
    """Log nothing in this process; for processes other than the first."""
    logging.getLogger("goft_cli").propagate = False
    with listening([("goft_cli", logging.NullHandler())]), quiet_libraries():
        yield


class Once(logging.Filter):
    """Log each sentence once: most would be repeated for every split."""

    def __init__(self) -> None:
        super().__init__()
        self.said: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether the sentence is new."""
        sentence = record.getMessage()
        new = sentence not in self.said
        self.said.add(sentence)
        return new


class Plain(logging.Formatter):
    """Format log lines without a terminal's escape codes."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        return CONTROL_CODES.sub("", super().format(record))


@contextmanager
def logging_to(path: Path, console: Console) -> Iterator[None]:
    """Send our messages to the screen and the file, and the libraries' to the file alone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    to_file = logging.FileHandler(path, encoding="utf-8")
    to_file.setFormatter(Plain("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    to_screen = RichHandler(console=console, show_path=False, show_time=False, markup=False)
    to_screen.addFilter(Once())
    ours = logging.getLogger("goft_cli")
    ours.setLevel(logging.INFO)
    ours.propagate = False
    for handler in (to_file, to_screen):
        handler.addFilter(Redaction())
    of_libraries = ((name, to_file) for name in LIBRARIES)
    handlers = [("goft_cli", to_file), ("goft_cli", to_screen), *of_libraries]
    with closing(to_file), listening(handlers), quiet_libraries():
        yield


def bar(title: str, *, disable: bool = False) -> Progress:
    """Return a progress bar with counts, time left, and a `status` for each task."""
    return Progress(
        TextColumn(title),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[status]}"),
        console=console,
        disable=disable,
    )


@contextmanager
def counting(title: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show a bar for `total` things; yields the function that adds a number of done ones."""
    with bar(title, disable=not speaks()) as progress:
        task = progress.add_task("", total=total, status="")
        yield lambda more: progress.advance(task, more)


def speaks() -> bool:
    """Tell whether this process is the first, or the only one, of its run."""
    return os.environ.get("RANK", "0") == "0"


def announce(name: str, size: int) -> None:
    """Print that a download of this size starts; 0 if the size is unknown."""
    if speaks():
        much = decimal(size) if size else "size unknown"
        console.print(f"downloading {name}, {much}, once", highlight=False, soft_wrap=True)


@contextmanager
def downloading(name: str, size: int) -> Iterator[type[tqdm]]:
    """Print the name of a download, and show its progress; `size` in bytes, 0 if unknown.

    Yields the class of bars for the hub's library; these bars only count and are not shown.
    """
    from tqdm.auto import tqdm

    announce(name, size)
    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not speaks()) as progress:
        task = progress.add_task("", total=size or None)

        class Bytes(tqdm):
            """A bar of the hub's library; if several count the same bytes, the largest is shown."""

            def __init__(self, *args: object, **options: object) -> None:
                super().__init__(None, disable=True)
                self.counts = options.get("unit") == "B"
                self.done = 0.0

            def update(self, n: float | None = 1) -> None:
                self.done += n or 0
                if self.counts and self.done > progress.tasks[task].completed:
                    progress.update(task, completed=self.done)

        yield Bytes
