"""`goft push adapter=RUN_FOLDER repo=NAME`: a run on the hub, private unless it is said twice."""

from __future__ import annotations

import sys

from goft_cli.config import PushConfig
from goft_cli.studies.sweep import run_composed
from goft_cli.system.errors import GoftError


def main() -> None:
    """Compose `configs/push.yaml` and upload."""
    run_composed("push", PushConfig, push)


def push(cfg: PushConfig) -> None:
    """Upload the adapter, the merged model or its LoRA form, with a model card."""
    import tempfile
    from pathlib import Path

    from goft_cli.run.summary import screen
    from goft_cli.run.trained import find_run, open_trained
    from goft_cli.sharing.publishing import find_repo, stage, upload
    from goft_cli.system.screen import quiet_libraries

    find_run(cfg.adapter)
    repo = find_repo(cfg)
    if cfg.public and not cfg.yes and not confirmed(repo):
        screen.print("nothing was uploaded")
        return
    with quiet_libraries(), tempfile.TemporaryDirectory() as aside:
        run = open_trained(cfg.adapter, base_model=cfg.base_model, data_dir=cfg.data_dir)
        folder = Path(aside, "model")
        stage(run, folder, repo, cfg)
        address = upload(folder, repo, public=cfg.public)
    readers = "everyone can read it" if cfg.public else "private"
    screen.print(f"{address} ({readers})", soft_wrap=True)


def confirmed(repo: str) -> bool:
    """Ask whether everyone may read it."""
    from rich.prompt import Confirm

    if not sys.stdin.isatty():
        raise GoftError("public=true: no terminal to ask on", "pass yes=true too")
    return Confirm.ask(f"Upload to {repo}, where everyone can read it?", default=False)
