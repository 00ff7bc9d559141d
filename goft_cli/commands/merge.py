"""`goft merge adapter=RUN_FOLDER`: the adapted model as a plain one, without adapter or goft."""

from __future__ import annotations

from goft_cli.composition import run_verb
from goft_cli.config import MergeConfig


def main() -> None:
    """Compose `configs/merge.yaml` and merge."""
    run_verb("merge", MergeConfig, merge)


def merge(cfg: MergeConfig) -> None:
    """Write the merged weights and the tokenizer, loadable with transformers alone.

    Raises:
        GoftError: no such run, another base model, or a target folder that is not empty.
    """
    from pathlib import Path

    from goft_cli import adapters
    from goft_cli.errors import GoftError
    from goft_cli.logs import quiet_libraries
    from goft_cli.report import screen
    from goft_cli.trained import find_run, open_trained

    target = Path(cfg.output_dir) if cfg.output_dir else find_run(cfg.adapter).path / "merged"
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise GoftError(f"output_dir={target} is already there and not empty; choose another one")
    with quiet_libraries():
        run = open_trained(cfg.adapter, base_model=cfg.base_model, to_merge=True)
        merged = adapters.merge(run.model)
        merged.save_pretrained(target)
        run.backbone.processor.save_pretrained(target)
    kind = type(merged).__name__
    screen.print(f"{kind}.from_pretrained({str(target)!r}) loads the merged model", soft_wrap=True)
