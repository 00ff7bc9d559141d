"""A saved adapter, put back on its base model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from textwrap import shorten

from peft import PeftConfig, PeftModel, get_peft_model
from peft.utils import get_peft_model_state_dict, set_peft_model_state_dict

from goft_cli.config import TrainConfig
from goft_cli.models.adalora import separate_penalty
from goft_cli.models.adapter_files import check_settings, check_tensors, read_settings, read_tensors
from goft_cli.models.adapters import (
    ADAPTER,
    ANY_UPDATES,
    heeding_peft,
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
    """Put a saved adapter and its head on a freshly loaded backbone, as its own files say."""
    return filled(put_on(backbone, folder, read_settings(folder)), folder)


def load_trained(
    backbone: Backbone,
    folder: Path,
    cfg: TrainConfig,
    auto_class: str,
    strength: float | None = None,
) -> PeftModel:
    """Put the adapter of a run on a freshly loaded backbone, as the run's configuration says.

    `strength` takes the place of the configuration's.
    """
    adapter, head = cfg.adapter, head_of(backbone.model, cfg.model)
    saved = read_settings(folder, adapter.peft_type)
    names = [name for name, _ in backbone.model.named_modules()]
    whole = trained_modules(backbone.model, adapter, head)
    own = peft_options(adapter, backbone.model, whole, ANY_UPDATES)
    own |= {key: getattr(saved, key) for key in adapter.unsettled if hasattr(saved, key)}
    with fitting(backbone, folder):
        config = peft_config(adapter, auto_class, own)
    model = put_on(backbone, folder, config)
    check_settings(folder, saved, model.peft_config[ADAPTER], names=names, own=own)
    keep_base_values(model, adapter, head)
    model = filled(model, folder)
    use_strength(model, adapter.strength if strength is None else strength)
    return model


def put_on(backbone: Backbone, folder: Path, config: PeftConfig) -> PeftModel:
    """Put the layers of a saved adapter on a backbone, not yet with its numbers."""
    config.inference_mode, config.base_model_name_or_path = True, None
    names = [name for name, _ in backbone.model.named_modules()]
    check_pattern(getattr(config, "target_modules", None), names)
    with fitting(backbone, folder), heeding_peft():
        return separate_penalty(get_peft_model(backbone.model, config))


@contextmanager
def fitting(backbone: Backbone, folder: Path) -> Iterator[None]:
    """Turn PEFT's complaints about an adapter and a base model into one sentence."""
    try:
        yield
    except PEFT_REFUSALS as error:
        reason = shorten(str(error), 200, placeholder=" ...")
        raise GoftError(
            f"adapter={folder} does not fit the base model {backbone.model.name_or_path}",
            f"pass the base it was trained on with base_model=PATH ({reason})",
        ) from error


def filled(model: PeftModel, folder: Path, *, without: Sequence[str] = ()) -> PeftModel:
    """Give an adapter the numbers in its folder, each of them and no other.

    `without` names modules that train whole and keep the numbers that they have.
    """
    config, read = model.peft_config[ADAPTER], read_tensors(folder)
    place, config.base_model_name_or_path = config.base_model_name_or_path, None
    with heeding_peft():
        # told the base model's place, PEFT would ask the hub whether the vocabulary has grown
        implied = get_peft_model_state_dict(model)
        own = {name: one for name, one in implied.items() if in_modules(name, without)}
        found = {name: one for name, one in read.items() if not in_modules(name, without)} | own
        config.base_model_name_or_path = place
        check_tensors(folder, found, implied)
        set_peft_model_state_dict(model, found, ADAPTER)
    return model.eval()
