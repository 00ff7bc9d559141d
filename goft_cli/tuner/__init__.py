"""Adds GOFT to PEFT as a method.

`register_peft_method` only accepts names that are members of the enum `PeftType`, and enums cannot
be subclassed once they have members, so the member is added to the enum itself, once per process.
`import goft_cli` imports this package as soon as PEFT is imported.
"""

from __future__ import annotations

from typing import Any, cast

from peft import PeftConfig
from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING
from peft.tuners.tuners_utils import BaseTuner
from peft.utils import PeftType, register_peft_method

from goft_cli.tuner.config import GoftConfig
from goft_cli.tuner.layer import GoftLayer
from goft_cli.tuner.model import GoftModel
from goft_cli.tuner.strength import set_strength, strength_of

NAME = "GOFT"


def register_goft(config_cls: type[PeftConfig], model_cls: type[BaseTuner]) -> None:
    """Make PEFT resolve `peft_type: GOFT` to these classes; a second call changes nothing.

    Raises:
        RuntimeError: another package has registered a method of this name.
    """
    member = _peft_type(NAME)
    registered = PEFT_TYPE_TO_CONFIG_MAPPING.get(member)
    if registered is None:
        register_peft_method(name=NAME.lower(), config_cls=config_cls, model_cls=model_cls)
    elif registered is not config_cls:
        raise RuntimeError(
            f"PEFT method {NAME}: already registered by {registered.__module__}, expected "
            f"{config_cls.__module__}; import only one of the two packages in a process"
        )


def _peft_type(name: str) -> PeftType:
    """The enum member of that name and value, added if the installed PEFT has none."""
    if name in PeftType.__members__:
        return PeftType[name]
    enum = cast(Any, PeftType)  # the tables below are CPython's own, stable since 3.8
    member = str.__new__(PeftType, name)
    member._name_, member._value_ = name, name
    cast(Any, member).__objclass__ = PeftType
    cast(Any, member)._sort_order_ = len(enum._member_names_)
    enum._member_map_[name] = member
    enum._value2member_map_[name] = member
    enum._member_names_.append(name)
    # EnumMeta.__setattr__ refuses members, type.__setattr__ does not.
    type.__setattr__(PeftType, name, member)
    return member


register_goft(GoftConfig, GoftModel)

__all__ = ["GoftConfig", "GoftLayer", "GoftModel", "set_strength", "strength_of"]
