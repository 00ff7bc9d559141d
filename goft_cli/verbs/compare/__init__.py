"""`goft compare`: adapters side by side on one task."""

from __future__ import annotations

from goft_cli.config import CompareConfig
from goft_cli.studies.hydra_main import run_composed


def main() -> None:
    """Compose `configs/compare.yaml` and compare."""
    run_composed("compare", CompareConfig, compare)


def compare(cfg: CompareConfig) -> None:
    """Check every run, then train those that are missing, then write the comparison."""
    from goft_cli.run.preflight import check_inputs
    from goft_cli.verbs.compare.runs import check_adapters, shared_words

    words = shared_words()
    check_adapters(cfg.adapters)
    check_inputs(cfg)
    # only now, for it imports the libraries
    from goft_cli.verbs.compare.comparison import write_comparison

    write_comparison(cfg, words)
