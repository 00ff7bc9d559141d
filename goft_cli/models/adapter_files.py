"""The files of a saved adapter: reading them, and comparing them with the configuration."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Collection, Iterator, Mapping
from enum import Enum
from pathlib import Path
from textwrap import shorten
from typing import Any

import torch
from peft import PeftConfig
from peft.tuners.tuners_utils import check_target_module_exists
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from goft_cli.config.adapter import CIRCUMSTANCES
from goft_cli.models.backbone import ADAPTER_SETTINGS, selects
from goft_cli.system.errors import GoftError

SETTINGS = ADAPTER_SETTINGS
WEIGHTS = "adapter_model.safetensors"
BASE_WEIGHT = ".base_layer.weight"
"""Suffix of a base weight, which PEFT saves with an adapter on an embedding."""
SELECTIONS = {"target_modules", "modules_to_save"}
"""Settings that PEFT rewrites: they are compared by the modules that they select."""
SHOWN = 3
"""Names in a refusal."""


def read_settings(folder: Path, peft_type: str | None = None) -> PeftConfig:
    """Read the configuration of a saved adapter; the type is that of the run that trained it."""
    for name in (SETTINGS, WEIGHTS):
        if not (folder / name).is_file():
            raise GoftError(
                f"adapter={folder}: incomplete, no {name}", "copy the whole folder again"
            )
    try:
        found = stated_settings(folder)["peft_type"]
        if peft_type not in {None, found}:
            raise edited(folder, "peft_type", found, peft_type)
        with warnings.catch_warnings():
            # PEFT only warns of unknown settings; `check_settings` refuses them
            warnings.simplefilter("ignore", UserWarning)
            return PeftConfig.from_pretrained(str(folder))
    except (OSError, LookupError, TypeError, ValueError, AttributeError) as error:
        reason = shorten(str(error), 200) or type(error).__name__
        raise GoftError(
            f"adapter={folder}: {SETTINGS} is not a configuration of an adapter ({reason})",
            "copy the folder again",
        ) from error


def stated_settings(folder: Path) -> dict[str, Any]:
    """Return the settings as they stand in the file."""
    return json.loads((folder / SETTINGS).read_text(encoding="utf-8"))


def edited(folder: Path, key: str, found: object, expected: object) -> GoftError:
    """Say that a setting is not the one that the run trained with."""
    return GoftError(
        f"adapter={folder}: {SETTINGS} has {key}={shown(found)}, but the run was trained with "
        f"{key}={shown(expected)}",
        "put back the file that the run wrote, or train again",
    )


def read_tensors(folder: Path) -> dict[str, Tensor]:
    """Read the tensors of a saved adapter."""
    try:
        return load_file(folder / WEIGHTS)
    except (SafetensorError, OSError) as error:
        raise GoftError(
            f"adapter={folder}: damaged {WEIGHTS} ({error})", "copy it again"
        ) from error


def check_settings(
    folder: Path,
    saved: PeftConfig,
    expected: PeftConfig,
    *,
    names: Collection[str],
    own: Collection[str],
) -> None:
    """Refuse a configuration that is not the one that the run trained with.

    `expected` is the configuration that the run's settings give on a model with modules of these
    names. `own` are the settings that the run states; the others are PEFT's defaults. A file of
    another PEFT version may have that version's defaults, so defaults that are not empty are then
    not compared: an old default cannot be told from a change.
    """
    there, here = saved.to_dict(), expected.to_dict()
    for key, value in stated_settings(folder).items():
        if key not in there and value:  # PEFT does not know it and would ignore it
            raise edited(folder, key, value, None)
    same_version = saved.peft_version == expected.peft_version
    for key in sorted(here.keys() - CIRCUMSTANCES):
        found, wanted = comparable(there[key]), comparable(here[key])
        if found == wanted or (key in SELECTIONS and same_modules(key, saved, expected, names)):
            continue
        if same_version or key in own or wanted is None:
            raise edited(folder, key, found, wanted)


def same_modules(key: str, saved: PeftConfig, expected: PeftConfig, names: Collection[str]) -> bool:
    """Tell whether a setting selects the same modules in both, and some at all."""
    wanted = selected_modules(key, expected, names)
    try:
        return bool(wanted) and selected_modules(key, saved, names) == wanted
    except (TypeError, re.error):  # the saved one is no selection at all
        return False


def selected_modules(key: str, config: PeftConfig, names: Collection[str]) -> set[str]:
    """Return the modules that a setting selects; PEFT saves names that a model does not have."""
    if key == "target_modules":
        return {name for name in names if check_target_module_exists(config, name)}
    return {one for one in getattr(config, key, None) or [] if selects(one, names)}


def comparable(value: object) -> object:
    """Return a setting in the form for comparisons."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, set | list | tuple):
        entries = [*value]  # may be lists, which cannot be in a set
        once = [one for place, one in enumerate(entries) if one not in entries[:place]]
        return sorted(once, key=str) or None
    return value if value != {} else None


def shown(value: object) -> str:
    """Write a setting for a refusal."""
    return shorten(json.dumps(value, default=str), 160, placeholder=" ...")


def check_tensors(folder: Path, found: Mapping[str, Tensor], implied: Mapping[str, Tensor]) -> None:
    """Refuse tensors that are not exactly those that PEFT would save of the adapter on this model.

    Values are not compared, except those of base weights: the folder may omit them, but must not
    change them.
    """
    for fault, names in tensor_faults(found, implied):
        if names:
            first = ", ".join(
                with_shape_and_dtype(name, found, implied) for name in sorted(names)[:SHOWN]
            )
            raise GoftError(
                f"adapter={folder}: {WEIGHTS} {fault} ({len(names)} of {len(implied)}), such as "
                f"{first}",
                "copy the whole folder again, or train again",
            )


def tensor_faults(
    found: Mapping[str, Tensor], implied: Mapping[str, Tensor]
) -> Iterator[tuple[str, list[str]]]:
    """Yield each kind of fault with the tensors that have it."""
    base = [name for name in implied if name.endswith(BASE_WEIGHT)]
    yield "lacks tensors of the adapter", [*(implied.keys() - found.keys() - {*base})]
    yield "holds tensors that are not the adapter's", [*(found.keys() - implied.keys())]
    pairs = {name: (found[name], implied[name]) for name in found}
    yield "holds tensors of another shape", [n for n, (a, b) in pairs.items() if a.shape != b.shape]
    yield (
        "holds tensors of another dtype",
        [n for n, (a, b) in pairs.items() if a.is_floating_point() != b.is_floating_point()],
    )
    yield "is not finite", [n for n, (a, _) in pairs.items() if not a.isfinite().all()]
    yield (
        "holds other weights of the base model",
        [n for n in base if n in found and not torch.equal(found[n], implied[n].to(found[n]))],
    )


def with_shape_and_dtype(
    name: str, found: Mapping[str, Tensor], implied: Mapping[str, Tensor]
) -> str:
    """Name a tensor, with its shape and kind where both sides have one and they differ."""
    sides = [side[name] for side in (found, implied) if name in side]
    forms = list(dict.fromkeys(f"{list(one.shape)} {one.dtype}" for one in sides))
    return name if len(forms) < 2 else f"{name} (found {forms[0]}, expected {forms[1]})"
