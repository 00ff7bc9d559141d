"""Batches in which each row has its own adapter, as PEFT has them for LoRA."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import lru_cache, partial
from typing import Any, cast

import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils import ModulesToSaveWrapper
from torch import Tensor, nn

BASE = "__base__"
"""PEFT's name for no adapter."""


@contextmanager
def mixed_batch(
    model: nn.Module, names: Sequence[str] | None, num_beams: int = 1
) -> Iterator[None]:
    """Run each row of the batches in a block with the adapter of its name, and with its head.

    With beam search a decoder's batch has each row `num_beams` times, an encoder's once. The error
    messages are PEFT's.

    Raises:
        ValueError: the model trains, or no layer has an adapter of one of the names.
    """
    if names is None:
        yield
        return
    check_names(model, names)
    in_decoder = [name for name in names for _ in range(num_beams)]
    encoder = encoder_of(model) if num_beams > 1 else None
    of_encoder = set() if encoder is None else {*encoder.modules()}
    with ExitStack() as stack:
        for module in model.modules():
            rows = list(names) if module in of_encoder else in_decoder
            if isinstance(module, BaseTunerLayer):
                hook = partial(with_names, names=rows)
                handle = module.register_forward_pre_hook(hook, with_kwargs=True)
                stack.callback(handle.remove)
            elif isinstance(module, ModulesToSaveWrapper):
                stack.enter_context(replaced_forward(module, partial(run_heads, module, rows)))
        yield


def check_names(model: nn.Module, names: Sequence[str]) -> None:
    """Refuse names of adapters that the model does not have, and a model in training mode."""
    if isinstance(names, str) or not all(isinstance(name, str) for name in names):
        raise TypeError(f"Got adapter names of type {type(names)}, expected a list of str.")
    if model.training:
        raise ValueError("Cannot pass `adapter_names` when the model is in training mode.")
    known = {BASE}
    for module in model.modules():
        if isinstance(module, BaseTunerLayer):
            known.update(*(getattr(module, part) for part in module.adapter_layer_names))
        elif isinstance(module, ModulesToSaveWrapper):
            known.update(module.modules_to_save)
    if unknown := {*names} - known:
        raise ValueError(
            f"Trying to infer with non-existing adapter(s): {', '.join(sorted(unknown))}"
        )


def check_rows(layer: BaseTunerLayer, x: Tensor, names: Sequence[str]) -> None:
    """Refuse an input whose first dimension is not the batch, and a layer that is merged.

    If a sequence is as long as the batch, a layer with the sequence first would take positions for
    rows: only a layer that has seen the batch first before is accepted.
    """
    check_length(x, names)
    if layer.merged:
        raise ValueError(
            "Cannot pass `adapter_names` when there are merged adapters, please call "
            "`unmerge_adapter` first."
        )
    if len({*names}) == 1 or x.dim() < 3:
        return
    if x.shape[1] != len(names):
        object.__setattr__(layer, "goft_batch_first", True)
    elif not getattr(layer, "goft_batch_first", False):
        raise ValueError(
            f"adapter_names: {len(names)} rows of {x.shape[1]} positions, where this layer cannot "
            "tell rows from positions until it has seen a batch of another shape; pad the rows by "
            "one position"
        )


def check_length(x: Tensor, names: Sequence[str]) -> None:
    """Refuse a number of names that is not the number of rows."""
    if len(x) != len(names):
        raise ValueError(
            "Length of `adapter_names` should be the same as the number of inputs, but got "
            f"{len(names)} and {len(x)} respectively."
        )


def by_adapter(x: Tensor, names: Sequence[str], run: Callable[[Tensor, str], Tensor]) -> Tensor:
    """Return what `run` gives for the rows of each name, in the order of the rows of `x`."""
    if len({*names}) < 2:
        return run(x, names[0] if names else BASE)
    together: Tensor | None = None
    for name, rows in places_of(tuple(names), x.device).items():
        found = run(x.index_select(0, rows), name)
        if together is None:
            together = found.new_empty((len(x), *found.shape[1:]))
        together.index_copy_(0, rows, found)
    return cast(Tensor, together)


@lru_cache(maxsize=8)
def places_of(names: tuple[str, ...], device: torch.device) -> dict[str, Tensor]:
    """Return the rows of each name; cached, because all layers of a pass need the same."""
    rows: dict[str, list[int]] = {}
    for row, name in enumerate(names):
        rows.setdefault(name, []).append(row)
    return {name: torch.tensor(some, device=device) for name, some in rows.items()}


def with_names(
    layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], names: list[str]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Add the names to the arguments of a layer."""
    return args, {**kwargs, "adapter_names": names}


def run_heads(
    wrapper: ModulesToSaveWrapper,
    names: Sequence[str],
    x: Tensor,
    *args: Any,  # noqa: ANN401 - the head's own
    **kwargs: Any,  # noqa: ANN401
) -> Tensor:
    """Run each row through its adapter's copy of a module of `modules_to_save`, or the original.

    PEFT's own function refuses modules with submodules, such as a pooler, and runs all rows through
    the original if the active adapter has no such module.
    """
    check_length(x, names)

    def run(rows: Tensor, name: str) -> Tensor:
        trained = dict(wrapper.modules_to_save)
        module = cast(nn.Module, trained.get(name, wrapper.original_module))
        found = module(rows, *args, **kwargs)
        if not isinstance(found, Tensor):
            raise TypeError(f"adapter_names: {type(module).__name__} returns no tensor")
        return found

    tensors = [one for one in (*args, *kwargs.values()) if isinstance(one, Tensor)]
    if tensors and len({*names}) > 1:
        raise TypeError("adapter_names: a module that trains whole takes more than one tensor")
    return by_adapter(x, names, run)


@contextmanager
def replaced_forward(module: nn.Module, forward: Callable[..., Tensor]) -> Iterator[None]:
    """Replace a module's `forward` within a block."""
    before = vars(module).get("forward")
    object.__setattr__(module, "forward", forward)
    try:
        yield
    finally:
        object.__delattr__(module, "forward")
        if before is not None:
            object.__setattr__(module, "forward", before)


def encoder_of(model: nn.Module) -> nn.Module | None:
    """Return the encoder of a model that has a decoder as well."""
    plain: Any = getattr(model, "model", model)  # a tuner's
    if not getattr(getattr(plain, "config", None), "is_encoder_decoder", False):
        return None
    return plain.get_encoder()
