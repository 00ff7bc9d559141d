"""A second stage: a run that starts from the adapter of a finished one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from goft_cli.config import AdaLoraAdapterConfig, AdapterConfig, TrainConfig
from goft_cli.config.adapter import ANY_UPDATES
from goft_cli.run.configuration import read_config
from goft_cli.run.provenance import COPY_RUN, adapter_changes, require_unchanged
from goft_cli.run.record import RunRecord, find_run
from goft_cli.system.errors import GoftError

KEY = "init_adapter"
WHILE_TRAINING = {"penalty_weight", "lora_dropout", "module_dropout", "boft_dropout"}
"""Options that change how an adapter trains, but not its shape."""


def first_stage(cfg: TrainConfig) -> RunRecord | None:
    """Return the finished run whose adapter a run starts from, if it starts from one."""
    if cfg.init_adapter is None:
        return None
    return RunRecord(find_run(cfg.init_adapter, key=KEY))


def check_first_stage(cfg: TrainConfig) -> None:
    """Refuse a first stage with another adapter, a changed one, or none."""
    source = first_stage(cfg)
    if source is None:
        return
    if source.folder.path.resolve() == Path(cfg.output_dir).resolve():
        raise GoftError(f"{KEY}={cfg.init_adapter} is the run itself", "pass another run_name=NAME")
    if isinstance(cfg.adapter, AdaLoraAdapterConfig):
        raise GoftError(
            f"{KEY}: AdaLoRA's ranks have been lowered and its schedule is over",
            "start from a run with another adapter, such as adapter=lora",
        )
    require_same_adapter(read_config(source.folder.config).adapter, cfg)
    changes = adapter_changes(source.manifest, source.folder)
    require_unchanged(changes, source.folder.path, COPY_RUN)


def require_same_adapter(there: AdapterConfig, cfg: TrainConfig) -> None:
    """Refuse an adapter of another method, of another size or on other layers."""
    begin = f"{KEY}={cfg.init_adapter} was trained with"
    if type(there) is not type(cfg.adapter):
        found, wanted = there.name, cfg.adapter.name
        raise GoftError(f"{begin} adapter={found}, found {wanted} here", f"pass adapter={found}")
    old, new = shaping(there), shaping(cfg.adapter)
    for name in sorted(old.keys() | new.keys()):
        found, wanted = old.get(name), new.get(name)
        if found != wanted:
            raise GoftError(
                f"{begin} adapter.{name}={written(found)}, found {written(wanted)} here",
                f"pass adapter.{name}={written(found)}, or the model of that run",
            )


def shaping(adapter: AdapterConfig) -> dict[str, Any]:
    """Return the options that say what an adapter is; the order of layers' names does not."""
    options = adapter.peft_options(ANY_UPDATES).items()
    plain = {key: value for key, value in options if key not in WHILE_TRAINING}
    return {key: sorted(it) if isinstance(it, list) else it for key, it in plain.items()}


def written(value: object) -> str:
    """Write a value as a command line takes it."""
    return f"[{','.join(map(str, value))}]" if isinstance(value, list) else str(value).lower()
