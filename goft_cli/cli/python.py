"""`goft train` and `goft predict` from Python, for a script or a notebook."""

from __future__ import annotations

import gc
import json
import logging
import os
import re
import tempfile
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from goft_cli.config.choices import STRENGTHS, check, fits_strength
from goft_cli.config.decoding import Decoding
from goft_cli.run.record import RunRecord, find_run, importing_for
from goft_cli.system.errors import USAGE_ERROR, GoftError

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel

    from goft_cli.data.table import Table
    from goft_cli.run.several import SeveralRuns
    from goft_cli.run.trained import TrainedRun
    from goft_cli.tasks.base import Task

Place = RunRecord | str | os.PathLike[str]
"""A run: its record, its folder, or the adapter folder inside it."""
TRAINING = threading.Lock()
KEY = re.compile(r"[A-Za-z_][\w./]*")


class Loaded(NamedTuple):
    """A model in evaluation mode on the CPU, and its tokenizer or image processor."""

    model: PeftModel | PreTrainedModel
    processor: Any


def train(**words: object) -> RunRecord:
    """Do what `goft train` does with the same overrides, and return the run's record.

    `trainer__learning_rate=1e-3` is the command's `trainer.learning_rate=1e-3`. A finished run is
    returned at once, and an interrupted one is resumed.

    Raises:
        Stopped: a signal came; it is a KeyboardInterrupt, and the same call resumes the run.
    """
    from goft_cli.run.summary import screen
    from goft_cli.training.launch_checks import check_rank
    from goft_cli.verbs import train as verb

    typed = [typed_word(key, value) for key, value in words.items()]
    with alone(), as_found(), refusals(typed):
        check_rank()
        cfg = composed(typed)
        quiet, screen.quiet = screen.quiet, True  # the record shows the same
        try:
            verb.train(cfg)
        finally:
            screen.quiet = quiet
    return RunRecord.of(cfg)


def predict(
    run: Place | Mapping[str, Place],
    rows: str | os.PathLike[str] | Iterable[Any],
    *,
    adapter_column: str | None = None,
    batch_size: int = 64,
    max_new_tokens: int = 256,
    base_model: str | None = None,
    strength: float | None = None,
) -> list[dict[str, Any]]:
    """Return each row with its `prediction`, as `goft predict` writes it: None for an empty row.

    `rows`: a file; mappings with the task's columns, such as a pandas DataFrame or a Dataset; or
    texts, if the task has one column of text. `strength`: how much of the adapter is used, from 0
    (the base model) to 1; by default the run's own. `run` may map names to runs; the column
    `adapter_column` then names the run of each row.
    """
    from goft_cli.verbs.predict import predicted_rows, sound_rows

    with (
        opened_several(run, rows, adapter_column, base_model, strength)
        if isinstance(run, Mapping)
        else opened_with(run, rows, base_model, strength)
    ) as (trained, task, table):
        predicted, _ = predicted_rows(
            trained,
            table,
            *sound_rows(task, table),
            batch_size=batch_size,
            decoding=Decoding(max_new_tokens=max_new_tokens),
        )
        return [line for lines in predicted.lines() for line in lines]


def load(
    run: Place,
    *,
    merged: bool = False,
    base_model: str | None = None,
    strength: float | None = None,
) -> Loaded:
    """Return a run's model, its adapter attached or merged into the weights, and its processor.

    `strength`: how much of the adapter is used, from 0 (the base model) to 1; by default the run's
    own. `goft_cli.set_strength` changes it later unless the adapter is merged.
    """
    with opened(run, base_model, strength) as trained:
        from goft_cli.models.adapters import merge

        model = merge(trained.mergeable()) if merged else trained.model
        return Loaded(model.eval(), trained.backbone.processor)


def typed_word(key: str, value: object) -> str:
    """Return the override that sets `key`, from which Hydra reads the same value back."""
    from goft_cli.compose.store import verb_groups
    from goft_cli.compose.words import spelled

    name = key.replace("__", ".")
    if not KEY.fullmatch(name):
        raise GoftError(f"{key}: there is no such key", "write it as trainer__learning_rate=1e-3")
    if name in verb_groups("train") and not isinstance(value, str | None):
        first = next(iter(value), "KEY") if isinstance(value, Mapping) else "KEY"
        raise GoftError(
            f"{key}: expected one choice by its name",
            f"call train once for each choice, and write a key of it as {key}__{first}=VALUE",
        )
    try:
        return f"{name}={spelled(value)}"
    except GoftError as error:
        raise GoftError(f"{key}: {error.problem}", error.remedy) from None


def composed(words: list[str]) -> Any:  # noqa: ANN401 - TrainConfig, whose import is late
    """Compose overrides as the command does, with the same errors for mistypes."""
    from goft_cli.compose.composition import refuse_words
    from goft_cli.compose.flags import as_overrides
    from goft_cli.compose.recomposition import VERB, compose_train
    from goft_cli.compose.suggest import CommandLine, mistyped

    refuse_words(words)
    line = CommandLine(VERB, tuple(as_overrides(VERB, words)))
    if refusal := mistyped(line):
        raise refusal
    return compose_train(line.words)


@contextmanager
def opened(run: Place, base_model: str | None, strength: float | None) -> Iterator[TrainedRun]:
    """Open a run for a block."""
    check(fits_strength(strength), "strength", strength, STRENGTHS, example=0.9)
    folder = folder_of(run)
    find_run(folder)
    with as_found(), refusals([]):
        with importing_for(folder):
            from goft_cli.run.trained import open_trained
            from goft_cli.system.screen import quiet_libraries
        with quiet_libraries():
            yield open_trained(folder, base_model=base_model, strength=strength)


@contextmanager
def opened_with(
    run: Place,
    rows: Any,  # noqa: ANN401 - as `predict` takes them
    base_model: str | None,
    strength: float | None,
) -> Iterator[tuple[TrainedRun, Task[Any, Any], Table]]:
    """Open a run, and read the rows to predict on, for a block."""
    with opened(run, base_model, strength) as trained, as_file(rows, trained.task) as file:
        yield trained, trained.task, trained.task.read_table(file)


@contextmanager
def opened_several(
    runs: Mapping[str, Place],
    rows: Any,  # noqa: ANN401 - as `predict` takes them
    column: str | None,
    base_model: str | None,
    strength: float | None,
) -> Iterator[tuple[SeveralRuns, Task[Any, Any], Table]]:
    """Open runs on one base model, and read the rows that name them, for a block."""
    if not runs or column is None:
        found = "several runs without adapter_column" if runs else "no run"
        raise GoftError(f"predict: found {found}", "pass {NAME: RUN, ...} and adapter_column=NAME")
    folders = {name: folder_of(run) for name, run in runs.items()}
    for name, folder in folders.items():
        find_run(folder, key=name)
    with as_found(), refusals([]):
        with importing_for(next(iter(folders.values()))):
            from goft_cli.run.several import SeveralRuns, names_of_rows, open_several, read_several
            from goft_cli.system.screen import quiet_libraries
        with quiet_libraries():
            read = read_several(folders, base_model)
            task = next(iter(read.values())).task
            with as_file(rows, task) as file:
                table = task.read_table(file)
                names = names_of_rows(table, column, read)
                opened = open_several(folders, read, base_model=base_model, strength=strength)
                yield SeveralRuns(opened, names), task, table


def folder_of(run: Place) -> str:
    """Return the folder of a run."""
    return str(run.folder.path if isinstance(run, RunRecord) else run)


@contextmanager
def as_file(rows: Any, task: Task[Any, Any]) -> Iterator[Path]:  # noqa: ANN401 - as `predict` takes them
    """Yield the file that rows are in, or one that they are written into; a row may be a text."""
    if isinstance(rows, str | os.PathLike):
        yield Path(rows)
        return
    if hasattr(rows, "iterrows"):  # a DataFrame, which iterates over its columns
        rows = rows.to_dict("records")
    listed = list(rows)
    if listed and all(isinstance(row, str) for row in listed):
        task.read_text(listed[0])  # refuses it if a row of the task is more than a text
        listed = [{task.line_column: text} for text in listed]
    if not all(isinstance(row, Mapping) for row in listed):
        raise GoftError("rows: found neither texts nor mappings", 'expected {"COLUMN": VALUE}')
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "rows.jsonl")
        lines = (json.dumps(dict(row), default=as_plain) for row in listed)
        file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        yield file


def as_plain(value: Any) -> object:  # noqa: ANN401 - of numpy, torch, pandas or another library
    """Return a value that JSON has: lists and numbers of arrays, else text."""
    return value.tolist() if hasattr(value, "tolist") else str(value)


@contextmanager
def refusals(words: list[str]) -> Iterator[None]:
    """Raise a GoftError where the command would print a sentence about a mistake."""
    from goft_cli.compose.refusals import sentence_and_code

    try:
        yield
    except GoftError:
        raise
    except Exception as error:
        sentence, code = sentence_and_code(error, ["train", *words])
        if code != USAGE_ERROR:
            raise
        raise GoftError(sentence) from error


@contextmanager
def alone() -> Iterator[None]:
    """Refuse a second training in this process: both would draw from its random numbers."""
    if not TRAINING.acquire(blocking=False):
        raise GoftError(
            "train: another call of goft_cli.train is running in this process, and the two would "
            "share its random numbers",
            "call it again when that one has ended, or in a process of its own",
        )
    try:
        yield
    finally:
        TRAINING.release()


@contextmanager
def as_found() -> Iterator[None]:
    """Restore Hydra, progress bars, logs and the garbage collector after a block."""
    from goft_cli.compose.recomposition import separate_hydra

    ours, frozen = logging.getLogger("goft_cli"), gc.get_freeze_count()
    level, propagate = ours.level, ours.propagate
    try:
        with separate_hydra():
            yield
    finally:
        ours.setLevel(level)
        ours.propagate = propagate
        if not frozen:  # the caller's objects must stay collectable
            gc.unfreeze()
