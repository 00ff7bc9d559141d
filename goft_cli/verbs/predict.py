"""`goft predict`: predictions of a trained run, in a file whose ending says the format."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from goft_cli.config import PredictConfig
from goft_cli.studies.hydra_main import run_composed
from goft_cli.system.errors import GoftError
from goft_cli.system.files import written_aside

Parts = Iterable[Sequence[Mapping[str, Any]]]
"""Lines, as many at a time as are predicted together."""


def main() -> None:
    """Compose `configs/predict.yaml` and predict."""
    run_composed("predict", PredictConfig, predict)


def predict(cfg: PredictConfig) -> None:
    """Write each input row with its prediction, or print that of a single text."""
    from goft_cli.run.record import importing_for
    from goft_cli.run.summary import screen, with_predictions

    output, text = Path(cfg.output), cfg.text
    if text is None:
        check_output_file(output, overwrite=cfg.overwrite)
    with importing_for(cfg.adapter):
        from goft_cli.run.trained import open_trained
        from goft_cli.system.screen import quiet_libraries

    with quiet_libraries():
        run = open_trained(cfg.adapter, base_model=cfg.base_model)
        rows = run.task.read(Path(cfg.input or "")) if text is None else run.task.read_text(text)
        found = run.predict(rows, batch_size=cfg.batch_size, decoding=cfg)
        parts = (with_predictions(some, predictions) for some, predictions in found)
        if text is None:
            write_lines(output, parts)
            screen.print(f"{len(rows)} predictions: {output}", soft_wrap=True)
        else:
            screen.print_json(json.dumps(next(parts)[0], ensure_ascii=False))


def check_output_file(path: Path, *, overwrite: bool) -> None:
    """Refuse a file in whose format predictions cannot be written, and one that is there."""
    if path.suffix.lower() not in WRITERS:
        raise GoftError(
            f"output={path}: the ending {path.suffix!r} names no format",
            f"expected one of {', '.join(WRITERS)}, such as output={path.with_suffix('.csv')}",
        )
    if path.exists() and not overwrite:
        raise GoftError(f"output={path} is already there", "pass another file or overwrite=true")


def write_lines(path: Path, parts: Parts) -> None:
    """Write predictions as they come, in the format of the file's ending.

    The file has its name once it is whole.
    """
    with written_aside(path) as file:
        WRITERS[path.suffix.lower()](parts, file)


def _as_json_lines(parts: Parts, file: BinaryIO) -> None:
    from goft_cli.run.summary import write_json_lines

    for lines in parts:
        write_json_lines(lines, file)


def _as_json(parts: Parts, file: BinaryIO) -> None:
    separator = "["
    for lines in parts:
        items = json.dumps(list(lines), indent=2, ensure_ascii=False)
        file.write(f"{separator}{items[1:-2]}".encode())
        separator = ","
    file.write(b"\n]\n")


def _as_delimited(parts: Parts, file: BinaryIO, *, delimiter: str) -> None:
    """Write a column for each number of a prediction; fields are quoted where they must be.

    The table is whole in memory: the last row may have a column that no other has.
    """
    import pandas as pd

    frame = pd.concat([pd.json_normalize([dict(line) for line in lines]) for lines in parts])
    # with "\n" alone, csv would leave a "\r" within a text unquoted
    file.write(frame.to_csv(index=False, sep=delimiter, lineterminator="\r\n").encode())


def _as_parquet(parts: Parts, file: BinaryIO) -> None:
    """Write a table; it is whole in memory, for the last row may tell the type of a column."""
    import pyarrow as pa
    from pyarrow import parquet

    tables = [pa.Table.from_pylist([dict(line) for line in lines]) for lines in parts]
    parquet.write_table(pa.concat_tables(tables, promote_options="permissive"), file)


WRITERS: dict[str, Callable[[Parts, BinaryIO], None]] = {
    ".jsonl": _as_json_lines,
    ".json": _as_json,
    ".csv": partial(_as_delimited, delimiter=","),
    ".tsv": partial(_as_delimited, delimiter="\t"),
    ".parquet": _as_parquet,
}
"""What writes a file, by its ending."""
