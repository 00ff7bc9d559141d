"""`goft eval adapter=RUN_FOLDER`: score a trained run again, merged or on other data if wanted."""

from __future__ import annotations

from goft_cli.composition import run_verb
from goft_cli.config import EvalConfig


def main() -> None:
    """Compose `configs/eval.yaml` and score."""
    run_verb("eval", EvalConfig, evaluate)


def evaluate(cfg: EvalConfig) -> None:
    """Load the run, score its evaluation splits, show and write the scores.

    Raises:
        GoftError: no such run, another base model, or data that does not fit the task.
    """
    from pathlib import Path

    from goft_cli import report
    from goft_cli.evaluation import evaluation_splits, run_model, score_splits
    from goft_cli.logs import quiet_libraries
    from goft_cli.run_folder import write_json
    from goft_cli.trained import open_trained

    with quiet_libraries():
        run = open_trained(cfg.adapter, base_model=cfg.base_model, data_dir=cfg.data_dir)
        config = run.task.config
        data = run.task.load_splits(config.eval_splits or [config.train_split])
        splits = evaluation_splits(run.task, data, run.backbone.processor)
        model = run.model.merge_and_unload() if cfg.merged else run.model
        collate = run.task.collate(run.backbone.processor)
        outputs = run_model(model, run.task, splits, collate, run.arguments(cfg.batch_size))
    scores = score_splits(run.task, outputs, splits)
    deviations = run.task.size_deviations(data)
    target = Path(cfg.output) if cfg.output else run.folder.path / "eval.json"
    content = {"adapter": str(run.folder.path), "merged": cfg.merged, "metrics": scores}
    write_json(target, {**content, "data": dict(data.provenance)})
    report.show_scores(run.cfg, scores, deviations, target)
