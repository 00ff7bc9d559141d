"""`goft fetch output_dir=DIR ...`: model and data of a run, or a benchmark, to take away."""

from __future__ import annotations

from goft_cli.config import FetchConfig
from goft_cli.studies.sweep import run_composed


def main() -> None:
    """Compose `configs/fetch.yaml` and fetch."""
    run_composed("fetch", FetchConfig, fetch)


def fetch(cfg: FetchConfig) -> None:
    """Write the folder, and say how to use it there."""
    from pathlib import Path
    from shlex import quote

    from goft_cli.run.summary import screen
    from goft_cli.sharing.fetching import command, fetch_run
    from goft_cli.system.locations import check_target, check_writable
    from goft_cli.system.screen import quiet_libraries

    target = Path(cfg.output_dir)
    check_target(target)
    check_writable(target)
    with quiet_libraries():
        fetched = fetch_run(cfg, target)
    if fetched:
        screen.print(f"copy {target} to the other machine, and there:", soft_wrap=True)
        check = f"  (cd {quote(str(target))} && sha256sum -c SHA256SUMS)"
        screen.print(check, soft_wrap=True, highlight=False)
    else:
        screen.print(
            "nothing to fetch: model and data come with goft-cli, or are in folders of yours"
        )
    screen.print(f"  {command(cfg, target, fetched)}", soft_wrap=True, highlight=False)
