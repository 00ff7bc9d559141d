"""What is said while a command works: logs, and bars that show progress."""

from __future__ import annotations

import logging
import os
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import datasets
import transformers
from huggingface_hub.utils import disable_progress_bars
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
from tqdm.auto import tqdm
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from goft_cli.system.secrets import Redaction

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


console = Console(stderr=True)


def bar(title: str, *, disable: bool = False) -> Progress:
    """Return a bar with things done, time left, and a `status` of each task."""
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
    """Show how many of `total` things are done; yields what to tell how many more are."""
    with bar(title, disable=not speaks()) as progress:
        task = progress.add_task("", total=total, status="")
        yield lambda more: progress.advance(task, more)


def speaks() -> bool:
    """Tell whether this process is the first, or the only one, of its run."""
    return os.environ.get("RANK", "0") == "0"


def announce(name: str, size: int) -> None:
    """Say that so many bytes are downloaded, 0 where their number is unknown."""
    if speaks():
        much = decimal(size) if size else "size unknown"
        console.print(f"downloading {name}, {much}, once", highlight=False, soft_wrap=True)


@contextmanager
def downloading(name: str, size: int) -> Iterator[type[tqdm]]:
    """Say once what is downloaded, and show how much of it is here.

    Args:
        name: of the item.
        size: bytes to come; 0 where that is unknown.

    Yields:
        the class of bars to give to the hub's library, whose bars show nothing themselves.
    """
    announce(name, size)
    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not speaks()) as progress:
        task = progress.add_task("", total=size or None)

        class Bytes(tqdm):
            """A bar of the library's; where several count the same bytes, the furthest rules."""

            def __init__(self, *args: object, **options: object) -> None:
                super().__init__(None, disable=True)
                self.counts = options.get("unit") == "B"
                self.done = 0.0

            def update(self, n: float | None = 1) -> None:
                self.done += n or 0
                if self.counts and self.done > progress.tasks[task].completed:
                    progress.update(task, completed=self.done)

        yield Bytes


class ProgressBar(TrainerCallback):
    """Shows updates done, time left, task loss and the headline of the last evaluation."""

    def __init__(self, headline: str) -> None:
        self.headline = headline
        self.loss = self.score = ""
        self.bar: Progress | None = None

    def on_train_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: object,
    ) -> None:
        """Start the bar on the main process, at the step training resumes from."""
        if not state.is_world_process_zero:
            return
        self.bar = bar("training")
        self.bar.add_task("", total=state.max_steps, completed=state.global_step, status="")
        self.bar.start()

    def on_step_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: object,
    ) -> None:
        """Advance by one update."""
        self._show(state.global_step)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: object,
    ) -> None:
        """Show the last loss and the last score."""
        values = logs or {}
        if "loss" in values:
            self.loss = f"loss {values['loss']:.4f}"
        if f"eval_{self.headline}" in values:
            self.score = f"{self.headline} {values[f'eval_{self.headline}']:.4f}"
        self._show(state.global_step)

    def on_train_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: object,
    ) -> None:
        """Leave the finished bar on the screen."""
        self.close()

    def close(self) -> None:
        """Stop drawing; also called when training ends by an error."""
        if self.bar is not None:
            self.bar.stop()
            self.bar = None

    def _show(self, step: int) -> None:
        if self.bar is not None:
            status = "  ".join(text for text in (self.loss, self.score) if text)
            self.bar.update(self.bar.task_ids[0], completed=step, status=status)
