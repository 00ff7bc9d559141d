"""Loads a saved adapter onto its base model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from textwrap import shorten
from typing import Any

from peft import PeftConfig, PeftModel, get_peft_model
from peft.utils import get_peft_model_state_dict, set_peft_model_state_dict

from goft_cli.config import TrainConfig
from goft_cli.config.adapter import ANY_UPDATES
from goft_cli.models.adalora import separate_penalty
from goft_cli.models.adapter_files import check_settings, check_tensors, read_settings, read_tensors
from goft_cli.models.adapters import (
    ADAPTER,
    filtered_peft_warnings,
    keep_base_values,
    peft_config,
    peft_options,
    trained_modules,
    use_strength,
)
from goft_cli.models.backbone import Backbone
from goft_cli.models.heads import head_of
from goft_cli.models.targets import check_pattern
from goft_cli.system.digests import in_modules
from goft_cli.system.errors import GoftError

PEFT_REFUSALS = (RuntimeError, ValueError, LookupError, TypeError, AttributeError, UserWarning)
"""What PEFT raises for a configuration that does not fit a model."""


def load_adapter(backbone: Backbone, folder: Path) -> PeftModel:
    """Load a saved adapter and its head onto a new backbone, by the adapter's own files."""
    return filled(attach_layers(backbone, folder, read_settings(folder)), folder)


@dataclass(frozen=True)
class Saved:
    """The saved configuration of an adapter, and the settings of the run that trained it."""

    folder: Path
    found: PeftConfig
    """The configuration in the folder."""
    implied: PeftConfig
    own: Mapping[str, Any]
    """The settings that the run states."""
    head: list[str]


def load_trained(
    backbone: Backbone,
    folder: Path,
    cfg: TrainConfig,
    auto_class: str,
    strength: float | None = None,
) -> PeftModel:
    """Load the adapter of a run onto a new backbone, by the run's configuration.

    `strength` replaces the configuration's.
    """
    return load_several(backbone, {ADAPTER: (folder, cfg)}, auto_class, strength)


def load_several(
    backbone: Backbone,
    runs: Mapping[str, tuple[Path, TrainConfig]],
    auto_class: str,
    strength: float | None = None,
) -> PeftModel:
    """Load the adapters of several runs onto one new backbone, under names for PEFT.

    The first one is active.
    """
    names = [name for name, _ in backbone.model.named_modules()]
    all_saved = {name: saved(backbone, *run, auto_class) for name, run in runs.items()}
    (first, one), *others = all_saved.items()
    model = attach_layers(backbone, one.folder, one.implied, first)
    for name, one in others:
        one.implied.inference_mode = True
        with fitting(backbone, one.folder), filtered_peft_warnings():
            model.add_adapter(name, one.implied)
    for name, one in all_saved.items():
        adapter, config = runs[name][1].adapter, model.peft_config[name]
        check_settings(one.folder, one.found, config, names=names, own=one.own)
        keep_base_values(model, adapter, one.head)
        filled(model, one.folder, name=name)
        own = adapter.strength if strength is None else strength
        use_strength(model, own, name if others else None)
    return model


def saved(backbone: Backbone, folder: Path, cfg: TrainConfig, auto_class: str) -> Saved:
    """Read an adapter's configuration and its run's, before an adapter is attached."""
    adapter, head = cfg.adapter, head_of(backbone.model, cfg.model)
    found = read_settings(folder, adapter.peft_type)
    whole = trained_modules(backbone.model, adapter, head)
    own = peft_options(adapter, backbone.model, whole, ANY_UPDATES)
    own |= {key: getattr(found, key) for key in adapter.unsettled if hasattr(found, key)}
    with fitting(backbone, folder):
        implied = peft_config(adapter, auto_class, own)
    names = [name for name, _ in backbone.model.named_modules()]
    check_pattern(getattr(implied, "target_modules", None), names)
    return Saved(folder, found, implied, own, head)


def attach_layers(
    backbone: Backbone, folder: Path, config: PeftConfig, name: str = ADAPTER
) -> PeftModel:
    """Attach the layers of a saved adapter to a backbone, without its weights."""
    config.inference_mode, config.base_model_name_or_path = True, None
    names = [name for name, _ in backbone.model.named_modules()]
    check_pattern(getattr(config, "target_modules", None), names)
    with fitting(backbone, folder), filtered_peft_warnings():
        return separate_penalty(get_peft_model(backbone.model, config, adapter_name=name))


@contextmanager
def fitting(backbone: Backbone, folder: Path) -> Iterator[None]:
    """Turn PEFT's errors about an adapter and a base model into one message."""
    try:
        yield
    except PEFT_REFUSALS as error:
        reason = shorten(str(error), 200, placeholder=" ...")
        raise GoftError(
            f"adapter={folder} does not fit the base model {backbone.model.name_or_path}",
            f"pass the base it was trained on with base_model=PATH ({reason})",
        ) from error


def filled(
    model: PeftModel, folder: Path, *, without: Sequence[str] = (), name: str = ADAPTER
) -> PeftModel:
    """Load all tensors of its folder into an adapter, and no others.

    `without` names modules of `modules_to_save` that keep their weights.
    """
    config, read = model.peft_config[name], read_tensors(folder)
    place, config.base_model_name_or_path = config.base_model_name_or_path, None
    with filtered_peft_warnings():
        # with a base model path PEFT would ask the hub whether the vocabulary has grown
        implied = get_peft_model_state_dict(model, adapter_name=name)
        own = {key: one for key, one in implied.items() if in_modules(key, without)}
        found = {key: one for key, one in read.items() if not in_modules(key, without)} | own
        config.base_model_name_or_path = place
        check_tensors(folder, found, implied)
        set_peft_model_state_dict(model, found, name)
    return model.eval()
