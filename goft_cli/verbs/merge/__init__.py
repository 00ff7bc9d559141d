"""`goft merge adapter=RUN_FOLDER`: write the adapted model as a plain one or as LoRA."""

from __future__ import annotations

from pathlib import Path

from goft_cli.config import MergeConfig
from goft_cli.studies.hydra_main import run_composed


def main() -> None:
    """Compose `configs/merge.yaml` and merge."""
    run_composed("merge", MergeConfig, merge)


def merge(cfg: MergeConfig) -> None:
    """Write the model, its card and its certificate, and show the certificate."""
    from goft_cli.config.model import require_bitsandbytes
    from goft_cli.run.record import at_strength, find_run, importing_for
    from goft_cli.run.summary import screen
    from goft_cli.system.files import note
    from goft_cli.system.locations import check_target

    if cfg.undo:
        take_out(cfg)
        return
    rank = cfg.as_lora
    name = "merged" if rank is None else f"lora-{rank:g}"
    own = find_run(cfg.adapter)
    name = at_strength(name, own, cfg.strength)
    target = Path(cfg.output_dir) if cfg.output_dir else own.path / name
    check_target(target)
    if cfg.quantization is not None:
        require_bitsandbytes(f"quantization={cfg.quantization.value}")
    with importing_for(cfg.adapter):
        from goft_cli.run.trained import open_trained
        from goft_cli.system.screen import quiet_libraries
        from goft_cli.verbs.merge.certificate import layer_table, summary_table
        from goft_cli.verbs.merge.export import export_lora, export_merged

    with quiet_libraries():
        places = {"base_model": cfg.base_model, "data_dir": cfg.data_dir}
        run = open_trained(cfg.adapter, **places, strength=cfg.strength)
        if cfg.output_dir is None:
            note(target.parent, target.name)
        if rank is None:
            certificate = export_merged(run, target, cfg)
        else:
            certificate = export_lora(run, target, cfg, rank)
    screen.print(summary_table(certificate))
    if certificate.layers:
        screen.print(layer_table(certificate.layers))
    screen.print(f"model, certificate and card with the lines to load it: {target}", soft_wrap=True)


def take_out(cfg: MergeConfig) -> None:
    """Write the merged model without the adapter, and show how far it is from the base."""
    from goft_cli.run.record import RunRecord, at_strength, find_run, importing_for
    from goft_cli.run.summary import screen
    from goft_cli.system.files import note
    from goft_cli.system.locations import check_target

    own = find_run(cfg.adapter)
    name, merged_name = (at_strength(one, own, cfg.strength) for one in ("unmerged", "merged"))
    target = Path(cfg.output_dir) if cfg.output_dir else own.path / name
    check_target(target)
    with importing_for(cfg.adapter):
        from goft_cli.run.trained import open_trained
        from goft_cli.system.screen import quiet_libraries
        from goft_cli.verbs.merge.undo import UNDO_REPORT, check_merged, undo, undone_table

    with quiet_libraries():
        merged = Path(cfg.merged_dir) if cfg.merged_dir else own.path / merged_name
        report = check_merged(merged, RunRecord(own))
        strength = report["run"].get("strength", 1.0)  # earlier versions had only strength 1
        run = open_trained(cfg.adapter, base_model=cfg.base_model, strength=strength)
        if cfg.output_dir is None:
            note(target.parent, target.name)
        undone = undo(run, report, merged, target)
    screen.print(undone_table(undone))
    screen.print(
        f"the base model up to rounding, not bit for bit; {UNDO_REPORT} has every layer: {target}",
        soft_wrap=True,
    )
