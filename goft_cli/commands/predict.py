"""`goft predict adapter=RUN_FOLDER input=FILE`: label or answer new texts with a trained run."""

from __future__ import annotations

from goft_cli.config import PredictConfig
from goft_cli.studies.sweep import run_composed


def main() -> None:
    """Compose `configs/predict.yaml` and predict."""
    run_composed("predict", PredictConfig, predict)


def predict(cfg: PredictConfig) -> None:
    """Write each input row with its prediction, or print that of a single text."""
    import json
    from pathlib import Path

    from goft_cli.predictions import check_ending, write_lines
    from goft_cli.run.summary import screen, with_predictions
    from goft_cli.run.trained import open_trained
    from goft_cli.system.errors import GoftError
    from goft_cli.system.screen import quiet_libraries

    output = Path(cfg.output)
    if cfg.text is None:
        check_ending(output)
        if output.exists() and not cfg.overwrite:
            raise GoftError(
                f"output={output} is already there",
                "pass another file or overwrite=true",
            )
    with quiet_libraries():
        run = open_trained(cfg.adapter, base_model=cfg.base_model)
        task = run.task
        rows = (
            task.read_text(cfg.text) if cfg.text is not None else task.read(Path(cfg.input or ""))
        )
        lengths = {"batch_size": cfg.batch_size, "max_new_tokens": cfg.max_new_tokens}
        lines = with_predictions(rows, run.predict(rows, **lengths))
    if cfg.text is not None:
        screen.print_json(json.dumps(lines[0], ensure_ascii=False))
        return
    write_lines(output, lines)
    screen.print(f"{len(lines)} predictions: {output}", soft_wrap=True)
