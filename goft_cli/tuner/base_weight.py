"""The frozen layer below a rotation: plain, or with a weight that bitsandbytes packed."""

from __future__ import annotations

from peft.utils.quantization_utils import (
    Bnb4bitBackend,
    Bnb8bitBackend,
    QuantizationBackend,
    resolve_quantization_backend,
)
from torch import Tensor, nn
from torch.utils._python_dispatch import is_traceable_wrapper_subclass
from transformers.pytorch_utils import Conv1D

PLAIN = (nn.Linear, Conv1D)


def features(layer: nn.Module) -> tuple[int, int]:
    """(in, out) features of a layer whose input can be rotated.

    Raises:
        ValueError: a layer of another class, one without inputs, or a weight packed in another way.
    """
    kind = type(layer).__name__
    remedy = "leave it out of target_modules or name it in exclude_modules"
    if type(layer) in PLAIN:
        weight = layer.get_parameter("weight")
        if not weight.is_floating_point() or is_traceable_wrapper_subclass(weight):
            raise ValueError(
                f"found {kind} with a weight of {weight.dtype} in {type(weight).__name__}, "
                "expected a plain floating point weight or one of bitsandbytes; load the model "
                f"without quantization, or {remedy}"
            )
    elif quantization_of(layer) is None:
        if isinstance(layer, nn.Linear):
            remedy = f"load the model without quantization, or {remedy}"
        raise ValueError(
            f"found {kind}, expected torch.nn.Linear itself, transformers' Conv1D, or a linear "
            f"layer of bitsandbytes; {remedy}"
        )
    names = ("nx", "nf") if isinstance(layer, Conv1D) else ("in_features", "out_features")
    inputs, outputs = (int(getattr(layer, name)) for name in names)
    if inputs < 1:
        raise ValueError(f"found {kind} with in_features=0, expected at least one; {remedy}")
    return inputs, outputs


def quantization_of(layer: nn.Module) -> QuantizationBackend | None:
    """How to read and write a weight of bitsandbytes; None for every other layer."""
    if type(layer) in PLAIN:
        return None
    backend = resolve_quantization_backend(layer)
    return backend if isinstance(backend, Bnb4bitBackend | Bnb8bitBackend) else None


def base_weight(layer: nn.Module) -> Tensor:
    """The weight as stored, (out, in) or Conv1D's (in, out); a packed one as what it stands for."""
    backend = quantization_of(layer)
    return (
        layer.get_parameter("weight").detach()
        if backend is None
        else backend.get_base_weight(layer)
    )
