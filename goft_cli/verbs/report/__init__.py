"""`goft report runs=FOLDER`: one page on finished runs."""

from __future__ import annotations

from goft_cli.config import ReportConfig
from goft_cli.studies.hydra_main import run_composed


def main() -> None:
    """Compose `configs/report.yaml` and write the page."""
    run_composed("report", ReportConfig, report)


def report(cfg: ReportConfig) -> None:
    """Measure what each adapter did, and write the page and its figures."""
    from pathlib import Path

    from goft_cli.run.summary import screen
    from goft_cli.run.trained import open_trained
    from goft_cli.system.files import note
    from goft_cli.system.screen import quiet_libraries
    from goft_cli.verbs.report import page
    from goft_cli.verbs.report.gather import (
        layer_reports,
        of_one_subject,
        one_per_adapter,
        train_command,
    )

    runs = of_one_subject(cfg.runs)
    commands = [train_command(run.cfg) for run in runs]
    geometry = []
    with quiet_libraries():
        for number, run in enumerate(one_per_adapter(runs), start=1):
            opened = open_trained(str(run.folder.path), base_model=cfg.base_model)
            if layers := layer_reports(opened):
                geometry.append(page.measured(run, layers, number))
    place = cfg.runs if isinstance(cfg.runs, str) else cfg.runs[0]
    folder = Path(cfg.output_dir) if cfg.output_dir else Path(place) / "report"
    if cfg.output_dir is None:
        note(folder.parent, folder.name)
    written = page.write(runs, geometry, commands, folder)
    screen.print(f"{len(runs)} runs: {written}", soft_wrap=True)
