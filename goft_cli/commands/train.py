"""`goft train`: fine-tune, evaluate, save, merge, score again."""

from __future__ import annotations

from goft_cli.composition import run_verb
from goft_cli.config import TrainConfig


def main() -> None:
    """Compose `configs/train.yaml` and run the pipeline on it."""
    run_verb("train", TrainConfig, train)


def train(cfg: TrainConfig) -> None:
    """Run the pipeline; torch is imported only now."""
    from goft_cli.preflight import check_inputs

    check_inputs(cfg)
    from goft_cli.pipeline import run

    run(cfg)
