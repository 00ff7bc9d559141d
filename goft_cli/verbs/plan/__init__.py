"""`goft plan ...`, with the words of `goft train`: what the run will take, before it starts."""

from __future__ import annotations

from goft_cli.config import PlanConfig
from goft_cli.studies.hydra_main import run_composed


def main() -> None:
    """Compose `configs/plan.yaml` and plan it."""
    run_composed("plan", PlanConfig, plan)


def plan(cfg: PlanConfig) -> None:
    """Show the plan, and leave its numbers where the run will find them.

    With `fits`, a run that does not fit as it is gets the settings with which it does instead.
    """
    from goft_cli.compose.references import retain_spec
    from goft_cli.config.model import check_tokenizer
    from goft_cli.data.model_files import bring_settings
    from goft_cli.run.preflight import check_data_dir, check_metrics, check_quantization
    from goft_cli.system.imports import importing
    from goft_cli.system.locations import model_location

    check_metrics(cfg.task)
    check_quantization(cfg)
    check_tokenizer(cfg.model)
    check_data_dir(cfg.task, "task")
    if isinstance(model_location(cfg.model.path), str):
        bring_settings(cfg.model)  # here a model that is nowhere is refused before the imports
    wanted = None if cfg.retain is None else retain_spec(cfg.retain, cfg.task, at_hand=False)
    with importing(packed=cfg.model.quantization is not None):
        from goft_cli.system.screen import quiet_libraries
        from goft_cli.verbs.plan.forecast import make_plan
        from goft_cli.verbs.plan.show import show, show_fitting, write_plan

    with quiet_libraries():
        if cfg.fits is not None and not show_fitting(cfg):
            return
        made = make_plan(cfg, wanted)
    show(made)
    write_plan(made)
