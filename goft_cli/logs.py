"""One logger: sentences on the screen, everything with times in the run folder."""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import datasets
import transformers
from huggingface_hub.utils import disable_progress_bars
from rich.console import Console
from rich.logging import RichHandler

from goft_cli.secrets import Redaction

LIBRARIES = ("transformers", "datasets", "accelerate", "peft", "evaluate", "py.warnings")


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Keep the libraries' progress bars, reports and warnings off the screen."""
    transformers.logging.disable_default_handler()
    transformers.logging.disable_progress_bar()
    datasets.disable_progress_bars()
    disable_progress_bars()
    silence = logging.NullHandler()
    loggers = [logging.getLogger(name) for name in LIBRARIES]
    for logger in loggers:
        logger.addHandler(silence)
    with warnings.catch_warnings():
        logging.captureWarnings(True)
        try:
            yield
        finally:
            logging.captureWarnings(False)
            for logger in loggers:
                logger.removeHandler(silence)


@contextmanager
def silent() -> Iterator[None]:
    """Say nothing in a process beside the one that speaks for all."""
    ours, silence = logging.getLogger("goft_cli"), logging.NullHandler()
    ours.propagate = False
    ours.addHandler(silence)
    try:
        with quiet_libraries():
            yield
    finally:
        ours.removeHandler(silence)


class Once(logging.Filter):
    """Let each sentence through once; what holds for every split is read once."""

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
    """Write what a terminal would show in colour or bold without the codes for it."""

    CODES = re.compile(r"\x1b\[[\d;]*m")

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        return self.CODES.sub("", super().format(record))


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
    handlers = [(ours, to_file), (ours, to_screen)]
    handlers += [(logging.getLogger(name), to_file) for name in LIBRARIES]
    for logger, handler in handlers:
        logger.addHandler(handler)
    try:
        with quiet_libraries():
            yield
    finally:
        for logger, handler in handlers:
            logger.removeHandler(handler)
        to_file.close()
