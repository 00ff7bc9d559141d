"""The frozen layer below a rotation: plain, or quantized by bitsandbytes."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial

import torch
from peft.utils.quantization_utils import (
    Bnb4bitBackend,
    Bnb8bitBackend,
    QuantizationBackend,
    resolve_quantization_backend,
)
from torch import Tensor, nn
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear
from torch.utils._python_dispatch import is_traceable_wrapper_subclass
from transformers.pytorch_utils import Conv1D

LINEAR = (nn.Linear, Conv1D)
PLAIN_DTYPES = {torch.float64, torch.float32, torch.float16, torch.bfloat16}


def features(layer: nn.Module) -> tuple[int, int]:
    """(in, out) features of a layer whose input can be rotated; ValueError for any other."""
    kind = type(layer).__name__
    remedy = "leave it out of target_modules or name it in exclude_modules"
    problem = None if quantization_of(layer) is not None else obstacle(layer)
    if problem is not None:
        raise ValueError(f"found {kind}, {problem}; {remedy}")
    names = ("nx", "nf") if isinstance(layer, Conv1D) else ("in_features", "out_features")
    inputs, outputs = (int(getattr(layer, name)) for name in names)
    if inputs < 1:
        raise ValueError(f"found {kind} with in_features=0, expected at least one; {remedy}")
    return inputs, outputs


def obstacle(layer: nn.Module) -> str | None:
    """Why a layer's input (not one of bitsandbytes) cannot be rotated; None if it can."""
    weight = layer._parameters.get("weight")
    if not isinstance(layer, LINEAR):
        return "expected a torch.nn.Linear, transformers' Conv1D, or a linear layer of bitsandbytes"
    if isinstance(layer, NonDynamicallyQuantizableLinear):
        return "whose weight torch.nn.MultiheadAttention uses without calling the layer"
    if weight is None:
        return "which computes its weight (a parametrization), expected a weight of its own"
    if weight.dtype not in PLAIN_DTYPES or is_traceable_wrapper_subclass(weight):
        return (
            f"whose weight is of {weight.dtype} in {type(weight).__name__}, expected a plain "
            "floating point weight or one of bitsandbytes; load the model without quantization"
        )
    return None if is_linear_map(layer) else "whose forward is not x W^T + b"


@torch.no_grad()
def is_linear_map(layer: nn.Module) -> bool:
    """Whether a layer's class computes x W^T + b, tested with small random weights.

    The layer's own weight is not used: it may be large, or on the meta device.
    """
    if type(layer) in LINEAR:
        return True
    if layer._parameters.keys() - {"weight", "bias"} or any(layer.children()):
        return False
    with torch.device("cpu"):  # not the device on which a model may be loading
        generator = torch.Generator().manual_seed(0)
        drawn = torch.randn(8, 5, generator=generator, dtype=torch.float64)
        weight, bias = drawn[:3], drawn[3, :3]
        x = drawn[4:] * torch.tensor([[1e-3], [1.0], [1e3], [1.0]], dtype=torch.float64)
        try:
            found = trial(layer, weight, bias)(x)
        except Exception:  # any error of a forward that needs more than x
            return False
        bias = bias if layer._parameters.get("bias") is not None else torch.zeros_like(bias)
        expected, size = x @ weight.T + bias, x.abs() @ weight.abs().T + bias.abs()
        if not isinstance(found, Tensor) or found.shape != expected.shape:
            return False
        return bool(((found - expected).abs() <= 10 * torch.finfo(torch.float64).eps * size).all())


def trial(layer: nn.Module, weight: Tensor, bias: Tensor) -> Callable[[Tensor], object]:
    """The forward of a layer's class, in training, on a copy that has other weights."""
    twin = copy.copy(layer)
    stored = weight.T if isinstance(layer, Conv1D) else weight
    parameters = {"weight": nn.Parameter(stored), "bias": None}
    if layer._parameters.get("bias") is not None:
        parameters["bias"] = nn.Parameter(bias)
    outputs, inputs = weight.shape
    sizes = {"in_features": inputs, "out_features": outputs, "nx": inputs, "nf": outputs}
    twin.__dict__ |= {"_parameters": parameters, "training": True, **sizes}
    return partial(type(layer).forward, twin)


def quantization_of(layer: nn.Module) -> QuantizationBackend | None:
    """PEFT's functions to read and write a weight of bitsandbytes; None for any other layer."""
    if type(layer) in LINEAR:
        return None
    backend = resolve_quantization_backend(layer)
    return backend if isinstance(backend, Bnb4bitBackend | Bnb8bitBackend) else None


def base_weight(layer: nn.Module) -> Tensor:
    """The weight as stored, (out, in) or Conv1D's (in, out); a quantized one is dequantized."""
    if (backend := quantization_of(layer)) is not None:
        return backend.get_base_weight(layer)
    return layer.get_parameter("weight").detach()


def cast_for_autocast(x: Tensor) -> Tensor:
    """The input in the dtype in which autocast would run the base layer; float64 stays."""
    device = x.device.type
    available = torch.amp.is_autocast_available(device)
    if available and torch.is_autocast_enabled(device) and x.dtype != torch.float64:
        return x.to(torch.get_autocast_dtype(device))
    return x
