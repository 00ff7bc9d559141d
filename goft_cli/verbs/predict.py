"""`goft predict`: write a trained run's predictions beside the columns of its input."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from goft_cli.config import Decoding, PredictConfig
from goft_cli.data.writers import WRITERS, Predicted, Prediction, free_name
from goft_cli.studies.hydra_main import run_composed
from goft_cli.system.errors import GoftError
from goft_cli.system.files import kind_of, written_aside

if TYPE_CHECKING:  # they import the libraries, and the output is checked before that
    from datasets import Dataset

    from goft_cli.data.table import Table
    from goft_cli.run.several import SeveralRuns
    from goft_cli.run.trained import TrainedRun
    from goft_cli.tasks.base import Task

STREAM = "-"
"""The name of stdin as an input, and of stdout as an output."""
Part = tuple[range, Sequence[Prediction | None]]


def main() -> None:
    """Compose `configs/predict.yaml` and predict."""
    run_composed("predict", PredictConfig, predict)


def predict(cfg: PredictConfig) -> None:
    """Write each input row with its prediction, or print that of a single text."""
    from goft_cli.run.record import find_run, importing_for
    from goft_cli.run.summary import screen, with_predictions

    if cfg.text is None:
        check_output(cfg.output, overwrite=cfg.overwrite)
    for name, folder in cfg.adapters.items():
        find_run(folder, key=f"adapters.{name}")
    with importing_for(cfg.adapter or next(iter(cfg.adapters.values()))):
        from goft_cli.run.trained import open_trained, read_run
        from goft_cli.system.screen import quiet_libraries

    with quiet_libraries():
        if cfg.adapters:
            predict_with_several(cfg)
            return
        *_, task = read_run(cfg.adapter)
        check_decoding(cfg, task)
        place: dict[str, Any] = {"base_model": cfg.base_model, "strength": cfg.strength}
        if cfg.text is None:
            table = task.read_table(Path(cfg.input or ""))
            rows, left_out = sound_rows(task, table)
            run = open_trained(cfg.adapter, **place)
            predict_rows(cfg, run, table, rows, left_out)
            return
        rows = task.read_text(cfg.text)
        if blank_rows(rows, task.asked):
            raise GoftError(f"text={cfg.text!r} is empty", "pass a text, or input=FILE")
        run = open_trained(cfg.adapter, **place)
        for _, found in run.predict(rows, batch_size=cfg.batch_size, decoding=cfg):
            (line,) = with_predictions(rows, found)
            screen.print_json(json.dumps(line, ensure_ascii=False))


def predict_with_several(cfg: PredictConfig) -> None:
    """Write each input row with the prediction of the run that its column names."""
    from goft_cli.run.several import SeveralRuns, names_of_rows, open_several, read_several

    read = read_several(cfg.adapters, cfg.base_model)
    tasks = [run.task for run in read.values()]
    check_decoding(cfg, tasks[0])
    table = tasks[0].read_table(Path(cfg.input or ""))
    names = names_of_rows(table, cfg.adapter_column or "", read)
    rows, left_out = sound_rows(tasks[0], table)
    runs = open_several(cfg.adapters, read, base_model=cfg.base_model, strength=cfg.strength)
    predict_rows(cfg, SeveralRuns(runs, names), table, rows, left_out)


def sound_rows(task: Task[Any, Any], table: Table) -> tuple[Dataset, dict[int, str]]:
    """Return the rows of a table, and the indices of empty ones with the reason."""
    rows = task.unlabelled(table)
    left_out = blank_rows(rows, task.asked)
    leave_out(left_out, table, len(rows))
    return rows, left_out


def predict_rows(
    cfg: PredictConfig,
    run: TrainedRun | SeveralRuns,
    table: Table,
    rows: Dataset,
    left_out: Mapping[int, str],
) -> None:
    """Write the predictions on a table's rows, and say how many there are."""
    from goft_cli.run.summary import screen
    from goft_cli.system.screen import console

    predicted, tally = predicted_rows(
        run, table, rows, left_out, batch_size=cfg.batch_size, decoding=cfg
    )
    write(cfg.output, predicted)
    made = f"{tally.made} prediction{'' if tally.made == 1 else 's'}{run.at}"
    if cfg.output == STREAM:
        console.print(made)
    else:
        screen.print(f"{made}: {cfg.output}", soft_wrap=True)


def predicted_rows(
    run: TrainedRun | SeveralRuns,
    table: Table,
    rows: Dataset,
    left_out: Mapping[int, str],
    *,
    batch_size: int,
    decoding: Decoding,
) -> tuple[Predicted, Tally]:
    """Return a table's columns with the predictions on its rows, and what counts them."""
    unfit = run.unfit_rows(rows)
    leave_out(unfit, table, len(rows))
    tally = Tally(table, len(rows), {**left_out, **unfit})
    parts = run.predict(rows, batch_size=batch_size, decoding=decoding, left_out=tally.left_out)
    return Predicted(table.columns, tally.counting(parts), name_beside(table)), tally


def check_output(output: str, *, overwrite: bool) -> None:
    """Refuse a file in whose format predictions cannot be written, or that cannot be written."""
    if output == STREAM:
        return
    path = Path(output)
    if path.suffix.lower() not in WRITERS:
        raise GoftError(
            f"output={path}: the ending {path.suffix!r} names no format",
            f"expected one of {', '.join(WRITERS)}, such as output={path.with_suffix('.csv')}, "
            "or output=- for JSON lines on stdout",
        )
    if kind := kind_of(path):
        raise GoftError(f"output={path} is {kind}", "pass a file")
    if path.exists() and not overwrite:
        raise GoftError(f"output={path} is already there", "pass another file or overwrite=true")
    if not path.parent.is_dir():
        raise GoftError(f"output={path}: there is no folder {path.parent}", "create it")
    if not os.access(path.parent, os.W_OK):
        raise GoftError(f"output={path}: the folder {path.parent} is read-only", "pass another")


def check_decoding(cfg: PredictConfig, task: Task[Any, Any]) -> None:
    """Refuse options of generation for a task whose model does not generate text."""
    from goft_cli.tasks.base import AnsweringTask

    plain = Decoding()
    given = [
        entry.name
        for entry in fields(Decoding)
        # version 0.1.0 ignored this one
        if entry.name != "max_new_tokens" and getattr(cfg, entry.name) != getattr(plain, entry.name)
    ]
    if given and not isinstance(task, AnsweringTask):
        raise GoftError(
            f"predict: {', '.join(given)} is for models that generate text, and that of "
            f"{task.config.name} does not",
            f"drop {', '.join(given)}",
        )


def blank_rows(rows: Dataset, asked: Sequence[str]) -> dict[int, str]:
    """Return the indices of rows in which one of these columns is empty, with its name."""
    return {
        place: f"{name} is empty"
        for name in asked
        for place, text in enumerate(rows[name])
        if not (text.strip() if isinstance(text, str) else text)
    }


def leave_out(reasons: Mapping[int, str], table: Table, rows: int) -> None:
    """Say how many rows get an empty prediction, and why the first of them; refuse if all do."""
    if len(reasons) == rows:
        refuse(reasons, table)
    if reasons:
        count = f"{len(reasons)} of {rows} rows get an empty prediction"
        warn(f"{count}; the first is {example(reasons, table)}")


def refuse(reasons: Mapping[int, str], table: Table) -> NoReturn:
    """Refuse a table of which no row can be predicted on."""
    more = ", and no other row can be predicted on" if len(reasons) > 1 else ""
    raise GoftError(f"{example(reasons, table)}{more}", "pass rows that the task can take")


def example(reasons: Mapping[int, str], table: Table) -> str:
    """Return the first row's location and its reason."""
    first = min(reasons)
    return f"{table.place(first)}: {reasons[first]}"


def name_beside(table: Table) -> str:
    """Return the column name of the predictions, and warn if the usual name is taken."""
    name = free_name(table.columns)
    if name != "prediction":
        warn(f"the input has a column prediction already, so the new one is called {name}")
    return name


@dataclass
class Tally:
    """Counts predictions as they come."""

    table: Table
    rows: int
    left_out: Mapping[int, str]
    """Indices of rows that are known beforehand to have no prediction, with the reason."""
    made: int = 0

    def counting(self, parts: Iterable[Part]) -> Iterator[Part]:
        """Pass predictions on and show their number; in the end, say which are missing."""
        from goft_cli.system.screen import counting

        damaged: list[int] = []
        with counting("predicting", self.rows) as advance:
            for places, predictions in parts:
                none = [
                    place for place, found in zip(places, predictions, strict=True) if not found
                ]
                damaged += [place for place in none if place not in self.left_out]
                self.made += len(places) - len(none)
                yield places, predictions
                advance(len(places))
        broken = dict.fromkeys(damaged, "it cannot be read")
        if not self.made:
            refuse({**self.left_out, **broken}, self.table)
        leave_out(broken, self.table, self.rows)


def warn(sentence: str) -> None:
    """Print a warning on stderr."""
    from goft_cli.system.screen import console

    console.print(sentence, style="yellow", soft_wrap=True, markup=False, highlight=False)


def write(output: str, rows: Predicted) -> None:
    """Write predictions as they come, in the format of the file's ending; on stdout JSON lines.

    The file gets its name when it is complete.
    """
    if output == STREAM:
        WRITERS[".jsonl"](rows, sys.stdout.buffer)
        return
    path = Path(output)
    with written_aside(path) as file:
        WRITERS[path.suffix.lower()](rows, file)
