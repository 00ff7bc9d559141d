"""`goft train`: fine-tune, evaluate, save, merge, score again."""

from __future__ import annotations

from goft_cli.command_line.composition import run_verb
from goft_cli.config import TrainConfig


def main() -> None:
    """Compose `configs/train.yaml` and run the pipeline on it."""
    run_verb("train", TrainConfig, train)


def train(cfg: TrainConfig) -> None:
    """Run the pipeline here or in processes of its own; torch is imported only now."""
    from goft_cli.launching.launch_checks import check_launch, is_rank
    from goft_cli.preflight import check_inputs
    from goft_cli.runs.provenance import check_ground

    check_launch(cfg)
    check_inputs(cfg)
    check_ground(cfg)  # here, for nothing heavy is imported yet
    if cfg.launcher.num_processes == 1 or is_rank():
        from goft_cli.pipeline import run

        run(cfg)
    else:
        from goft_cli.launching.launch import launch
        from goft_cli.runs.run_folder import opened

        with opened(cfg) as folder:
            launch(cfg, folder.config)
