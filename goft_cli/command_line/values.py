"""Words that Hydra can read and not apply: several values, a plus too many, a value of no use."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from enum import EnumMeta
from typing import Any, get_origin

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, ValueType
from hydra.errors import ConfigCompositionException
from omegaconf import DictConfig, Node
from omegaconf.errors import OmegaConfBaseException, ValidationError

from goft_cli.command_line.nearest import did_you_mean
from goft_cli.system.errors import GoftError

TYPE_WORDS: dict[object, str] = {
    float: "a number",
    int: "a whole number",
    bool: "true or false",
}


def explain_form(
    error: Exception, overrides: Sequence[str], keys: Collection[str], *, multirun: bool
) -> GoftError | None:
    """Several values without a sweep, or a plus before a key that is there; None if it is neither.

    Hydra raises one class for these and others, with nothing but words in it.
    """
    of_hydra = isinstance(error, ConfigCompositionException)
    if not of_hydra or isinstance(cause_of(error), OmegaConfBaseException):
        return None
    for override in OverridesParser.create().parse_overrides(list(overrides)):
        word, key = str(override.input_line), override.key_or_group
        if override.value_type is ValueType.SIMPLE_CHOICE_SWEEP and not multirun:
            name, _, values = word.partition("=")
            remedy = f"a list is {name}=[{values}]"
            return GoftError(f"{word}: a sweep over several values needs -m", remedy)
        if is_plain_add(override) and (key in keys or key.startswith("hydra.")):
            return GoftError(f"+{key}: {key} is already a key", "write it without the +")
    return None


def is_plain_add(override: Override) -> bool:
    """Tell `+key` from `++key`, which Hydra takes for a key that is there too."""
    return override.is_add() and not override.is_force_add()


def explain_value(error: Exception, overrides: Sequence[str]) -> GoftError:
    """A value that its key's type refuses."""
    cause = cause_of(error)
    key = getattr(cause, "full_key", None) or ""
    typed = next((word for word in overrides if key and word.startswith(f"{key}=")), key or "value")
    value = getattr(cause, "value", None)
    kind = kind_of(cause) if isinstance(cause, ValidationError) and value is not None else None
    if kind in TYPE_WORDS:
        return GoftError(f"{typed}: expected {TYPE_WORDS[kind]}")
    if isinstance(kind, EnumMeta):
        return GoftError(f"{typed}: {did_you_mean(str(value), kind.__members__, prefix=f'{key}=')}")
    if get_origin(kind) is list:
        return GoftError(f"{typed}: expected a list, such as {key}=[{typed.partition('=')[2]}]")
    return GoftError(f"{typed}: {str(cause).splitlines()[0].partition('. value: ')[0]}")


def cause_of(error: Exception) -> BaseException:
    """Return the error of OmegaConf's below Hydra's own, if there is one."""
    return error.__cause__ or error.__context__ or error


def kind_of(refused: ValidationError) -> Any:  # noqa: ANN401 - a class, or a form such as list[str]
    """Return the type of the key, or of the member of a list or mapping, whose value is refused."""
    parent: Any = refused.parent_node
    node = parent._get_node(refused.key) if isinstance(parent, DictConfig) else None
    if isinstance(node, Node):
        return node._metadata.ref_type
    return getattr(getattr(parent, "_metadata", None), "element_type", None)
