"""Progress bars: for training, with the loss and the best score so far, counting, downloads."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.filesize import decimal
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
