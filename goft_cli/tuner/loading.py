"""What a file must hold so that the adapter on the model is the one that was saved."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from peft.utils import ModulesToSaveWrapper
from torch import Tensor, nn
from torch.utils._python_dispatch import is_traceable_wrapper_subclass

SHOWN = 3


def check_weights(
    model: nn.Module, adapter_name: str, weights: Mapping[str, Tensor], parts: tuple[str, ...]
) -> None:
    """Refuse weights that would leave a part of an adapter at its start, or set something else.

    Wrong shapes are not looked at: torch refuses them, or the caller told PEFT to pass over them.

    Args:
        model: with the adapter in place, in a PeftModel or not.
        adapter_name: the one to be loaded.
        weights: by the names that the model has for them.
        parts: what the parameter dictionaries of an adapter are called.

    Raises:
        ValueError: missing or surplus names, values that are no floating point numbers or not
            finite; says the first names.
    """
    endings = tuple(f".{part}.{adapter_name}" for part in parts)
    expected = {plain(name) for name in model.state_dict() if name.endswith(endings)}
    found = {plain(name): value for name, value in weights.items()}
    beside = trained_beside(model, adapter_name)
    surplus = [name for name in found.keys() - expected if not any(map(name.startswith, beside))]
    problems = {
        "missing": expected - found.keys(),
        "without a place in the model": surplus,
        "no floating point numbers": [
            name for name in expected & found.keys() if not found[name].is_floating_point()
        ],
        "not finite": [name for name, value in found.items() if not is_finite(value)],
    }
    for problem, names in problems.items():
        if names:
            raise ValueError(
                f"GOFT adapter {adapter_name!r}: {len(names)} tensors are {problem} "
                f"({', '.join(sorted(names)[:SHOWN])}{', ...' if len(names) > SHOWN else ''}); "
                f"expected the {len(expected)} that its configuration implies on this model; copy "
                "the adapter's files again, both of them, or load it on the model it was trained on"
            )


def plain(name: str) -> str:
    """A parameter's name without what wraps the model around it."""
    for wrapper in ("_fsdp_wrapped_module.", "_orig_mod."):
        name = name.replace(wrapper, "")
    return name.removeprefix("base_model.model.")


def trained_beside(model: nn.Module, adapter_name: str) -> list[str]:
    """Where else an adapter's file may write: modules that train whole, and embeddings."""
    names = [
        f"{name}.modules_to_save.{adapter_name}."
        for name, module in model.named_modules()
        if isinstance(module, ModulesToSaveWrapper)
    ]
    found = [embeddings(model, way) for way in ("get_input_embeddings", "get_output_embeddings")]
    names += [f"{name}." for name, module in model.named_modules() if module in found]
    return [plain(name) for name in names]


def embeddings(model: nn.Module, way: str) -> nn.Module | None:
    """What a model of transformers answers; a model of another kind has no such method."""
    try:
        return getattr(model, way)()
    except (AttributeError, NotImplementedError):
        return None


def is_finite(value: Tensor) -> bool:
    """Whether there is no NaN or infinity, as far as the values are here to be seen."""
    unseen = value.is_meta or is_traceable_wrapper_subclass(value)
    return unseen or not value.is_floating_point() or bool(torch.isfinite(value).all())
