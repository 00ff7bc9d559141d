"""`goft report runs=FOLDER`: one page on finished runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from goft_cli.config import ReportConfig
from goft_cli.studies.hydra_main import run_composed

if TYPE_CHECKING:
    from goft_cli.run.layers import LayerReport
    from goft_cli.run.record import RunRecord


def main() -> None:
    """Compose `configs/report.yaml` and write the page."""
    run_composed("report", ReportConfig, report)


def report(cfg: ReportConfig) -> None:
    """Write the page and its figures, unless they exist and were made from the same files."""
    from goft_cli.run.record import of_one_subject
    from goft_cli.run.summary import screen
    from goft_cli.system.digests import is_made, note_made
    from goft_cli.system.files import note

    runs = of_one_subject(cfg.runs)
    if cfg.retain is not None:
        measure_forgetting(cfg, runs)
    place = cfg.runs if isinstance(cfg.runs, str) else cfg.runs[0]
    folder = Path(cfg.output_dir) if cfg.output_dir else Path(place) / "report"
    made_from = source_digest(cfg, runs)
    if made_from is None or not is_made(folder, made_from):
        if cfg.output_dir is None:
            note(folder.parent, folder.name)
        names = write_page(cfg, runs, folder)
        if made_from is not None:
            note_made(folder, made_from, names)
    of = "one run" if len(runs) == 1 else f"{len(runs)} runs"
    screen.print(f"report on {of}: {folder / 'report.html'}", soft_wrap=True)


def source_digest(cfg: ReportConfig, runs: Sequence[RunRecord]) -> str | None:
    """Return the digest of all files that a page is made from; None if some are missing."""
    from goft_cli.run.manifest import describe_base
    from goft_cli.run.provenance import ADAPTER_FILES
    from goft_cli.run.retained import NAME as RETAINED
    from goft_cli.system.digests import digest_of, digests, program
    from goft_cli.system.errors import GoftError

    content: list[object] = [asdict(cfg), program("matplotlib", "torch", "transformers", "peft")]
    for run in runs:
        folder, model = run.folder, run.cfg.model
        model = replace(model, path=cfg.base_model) if cfg.base_model else model
        try:
            base = describe_base(model)
        except GoftError:  # which opening the run raises, too
            return None
        if not base["sha256"]:
            return None
        files = [folder.config, folder.metrics, folder.manifest, folder.history, folder.classes]
        files += [folder.rewound, folder.path / RETAINED]
        files += [folder.adapter / name for name in ADAPTER_FILES]
        found = digests(files)
        content.append([base, {str(path): digest for path, digest in found.items()}])
    return digest_of(content)


def measure_forgetting(cfg: ReportConfig, runs: Sequence[RunRecord]) -> None:
    """Measure forgetting for the runs that have no such measurement."""
    from goft_cli.compose.references import retain_spec
    from goft_cli.run.retained import find
    from goft_cli.system.imports import importing

    wanted = retain_spec(cfg.retain, runs[0].cfg.task)
    for run in [run for run in runs if find(run, wanted, run.cfg.adapter.strength) is None]:
        with importing(packed=run.cfg.model.quantization is not None):
            from goft_cli.run.forgetting import retained_by
            from goft_cli.run.trained import open_trained
            from goft_cli.system.screen import quiet_libraries

        with quiet_libraries():
            opened = open_trained(str(run.folder.path), base_model=cfg.base_model)
            retained_by(opened, wanted, run.cfg.trainer.per_device_eval_batch_size)


def write_page(cfg: ReportConfig, runs: Sequence[RunRecord], folder: Path) -> list[str]:
    """Lay out how each adapter changed the model; write page and figures, return their names."""
    from goft_cli.system.palette import looks_of
    from goft_cli.verbs.report import page
    from goft_cli.verbs.report.gather import one_per_adapter, recorded_layers, train_command

    commands = [train_command(run.cfg) for run in runs]
    looks, geometry = looks_of(run.adapter for run in runs), []
    for number, run in enumerate(one_per_adapter(runs), start=1):
        kept = recorded_layers(run) if cfg.base_model is None else None
        if layers := measure_layers(cfg, run) if kept is None else kept:
            geometry.append(page.layer_section(run, layers, number, looks[run.adapter]))
    return page.write(runs, geometry, commands, folder)


def measure_layers(cfg: ReportConfig, run: RunRecord) -> list[LayerReport]:
    """Open a run that stored no measurements of its layers, and measure them."""
    from goft_cli.system.imports import importing

    with importing(packed=run.cfg.model.quantization is not None):
        from goft_cli.run.trained import open_trained
        from goft_cli.system.screen import quiet_libraries
        from goft_cli.verbs.report.gather import measured_layers

    with quiet_libraries():
        return measured_layers(open_trained(str(run.folder.path), base_model=cfg.base_model))
