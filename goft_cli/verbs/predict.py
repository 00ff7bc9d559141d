"""`goft predict`: predictions of a trained run, in a file whose ending says the format."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from goft_cli.config import PredictConfig
from goft_cli.studies.hydra_main import run_composed
from goft_cli.system.errors import GoftError
from goft_cli.system.files import write_bytes

Lines = Sequence[Mapping[str, Any]]


def main() -> None:
    """Compose `configs/predict.yaml` and predict."""
    run_composed("predict", PredictConfig, predict)


def predict(cfg: PredictConfig) -> None:
    """Write each input row with its prediction, or print that of a single text."""
    from goft_cli.run.summary import screen, with_predictions
    from goft_cli.run.trained import open_trained
    from goft_cli.system.screen import quiet_libraries

    output, text = Path(cfg.output), cfg.text
    if text is None:
        check_output_file(output, overwrite=cfg.overwrite)
    with quiet_libraries():
        run = open_trained(cfg.adapter, base_model=cfg.base_model)
        rows = run.task.read(Path(cfg.input or "")) if text is None else run.task.read_text(text)
        lengths = {"batch_size": cfg.batch_size, "max_new_tokens": cfg.max_new_tokens}
        lines = with_predictions(rows, run.predict(rows, **lengths))
    if text is not None:
        screen.print_json(json.dumps(lines[0], ensure_ascii=False))
        return
    write_lines(output, lines)
    screen.print(f"{len(lines)} predictions: {output}", soft_wrap=True)


def check_output_file(path: Path, *, overwrite: bool) -> None:
    """Refuse a file in whose format predictions cannot be written, and one that is there."""
    if path.suffix.lower() not in WRITERS:
        raise GoftError(
            f"output={path}: the ending {path.suffix!r} names no format",
            f"expected one of {', '.join(WRITERS)}, such as output={path.with_suffix('.csv')}",
        )
    if path.exists() and not overwrite:
        raise GoftError(f"output={path} is already there", "pass another file or overwrite=true")


def write_lines(path: Path, lines: Lines) -> None:
    """Write predictions whole or not at all, in the format of the file's ending."""
    write_bytes(path, WRITERS[path.suffix.lower()](lines))


def _as_json_lines(lines: Lines) -> bytes:
    return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines).encode()


def _as_json(lines: Lines) -> bytes:
    return (json.dumps(list(lines), indent=2, ensure_ascii=False) + "\n").encode()


def _as_delimited(lines: Lines, *, delimiter: str) -> bytes:
    """Write a column for each number of a prediction; fields are quoted where they must be."""
    import pandas as pd

    frame = pd.json_normalize([dict(line) for line in lines])
    # with "\n" alone, csv would leave a "\r" within a text unquoted
    return frame.to_csv(index=False, sep=delimiter, lineterminator="\r\n").encode()


def _as_parquet(lines: Lines) -> bytes:
    import pyarrow as pa
    from pyarrow import parquet

    file = io.BytesIO()
    parquet.write_table(pa.Table.from_pylist([dict(line) for line in lines]), file)
    return file.getvalue()


WRITERS: dict[str, Callable[[Lines], bytes]] = {
    ".jsonl": _as_json_lines,
    ".json": _as_json,
    ".csv": partial(_as_delimited, delimiter=","),
    ".tsv": partial(_as_delimited, delimiter="\t"),
    ".parquet": _as_parquet,
}
"""What writes a file, by its ending."""
