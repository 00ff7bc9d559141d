"""`goft predict adapter=RUN_FOLDER input=FILE`: label new texts with a trained run."""

from __future__ import annotations

from goft_cli.composition import run_verb
from goft_cli.config import PredictConfig


def main() -> None:
    """Compose `configs/predict.yaml` and predict."""
    run_verb("predict", PredictConfig, predict)


def predict(cfg: PredictConfig) -> None:
    """Write one JSON line per input row, or print the line for a single text.

    Raises:
        GoftError: no such run, unreadable input, or an output file that is already there.
    """
    import json
    from pathlib import Path

    from goft_cli.errors import GoftError
    from goft_cli.evaluation import run_model
    from goft_cli.logs import quiet_libraries
    from goft_cli.report import prediction_lines, screen
    from goft_cli.run_folder import write_text
    from goft_cli.tasks.base import Split
    from goft_cli.trained import open_trained

    output = Path(cfg.output)
    if cfg.text is None and output.exists() and not cfg.overwrite:
        raise GoftError(f"output={output} is already there; pass another file or overwrite=true")
    with quiet_libraries():
        run = open_trained(cfg.adapter, base_model=cfg.base_model)
        task = run.task
        rows = (
            task.read_text(cfg.text) if cfg.text is not None else task.read(Path(cfg.input or ""))
        )
        split = Split(rows, task.encode(rows, run.backbone.processor))
        collate = task.collate(run.backbone.processor)
        arguments = run.arguments(cfg.batch_size)
        found = run_model(run.model, task, {"input": split}, collate, arguments)
    lines = prediction_lines(task, split, found["input"])
    if cfg.text is not None:
        screen.print_json(json.dumps(lines[0], ensure_ascii=False))
        return
    write_text(output, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
    screen.print(f"{len(lines)} predictions: {output}", soft_wrap=True)
