"""`goft plan ...`, with the words of `goft train`: what the run will take, before it starts."""

from __future__ import annotations

from goft_cli.config import PlanConfig
from goft_cli.studies.hydra_main import run_composed


def main() -> None:
    """Compose `configs/plan.yaml` and plan it."""
    run_composed("plan", PlanConfig, plan)


def plan(cfg: PlanConfig) -> None:
    """Show the plan, and leave its numbers where the run will find them."""
    from goft_cli.config.model import check_tokenizer
    from goft_cli.run.preflight import check_quantization

    check_quantization(cfg)
    check_tokenizer(cfg.model)
    from goft_cli.system.screen import quiet_libraries
    from goft_cli.verbs.plan.forecast import make_plan
    from goft_cli.verbs.plan.show import show, write_plan

    with quiet_libraries():
        made = make_plan(cfg)
    show(made)
    write_plan(made)
