"""Checks on this machine that an engine compiled here computes correct results."""

from __future__ import annotations

import warnings
from functools import partial
from typing import Any

import torch
from torch import Tensor

from goft_cli.rotation import staged


def passes(
    engine: Any,  # noqa: ANN401 - a module
    name: str,
    shape: tuple[int, int],
    dtype: torch.dtype,
    device: torch.device,
    remedy: str,
) -> bool:
    """Whether an engine runs and agrees with the staged one; if not, a warning says why.

    It runs on vectors (n, d) of that shape. `remedy` is printed unless a package is missing.
    """
    where = f"in {dtype} on {device}, {remedy}"
    try:
        wrong = ", ".join(_disagreements(engine, shape, dtype, device))
        fault = wrong and f"{wrong} {where}"
    except ModuleNotFoundError as error:
        fault = f"{error}, pip install {error.name}"
    except Exception as error:  # any error of the compiler or the driver
        fault = f"{type(error).__name__}: {error} {where}"
    if fault:
        sentence = f"{name}: {fault}; the blocked engine is used instead"
        warnings.warn(sentence, RuntimeWarning, stacklevel=2)
    return not fault


@torch.no_grad()
def _disagreements(
    engine: Any,  # noqa: ANN401 - a module
    shape: tuple[int, int],
    dtype: torch.dtype,
    device: torch.device,
) -> list[str]:
    """Describe the differences from the staged engine in float64 on the CPU, strict and quasi."""
    rows, dim = shape
    draw = partial(torch.randn, generator=torch.Generator().manual_seed(0), device="cpu")
    wrong: list[str] = []
    for kind, rotation in (("strict", draw(dim - 1)), ("quasi", draw(dim - 1, 2, 2) / 2)):
        case = draw(rows, dim).to(dtype), draw(rows, dim).to(dtype), rotation
        found = results(engine, *(tensor.to(device) for tensor in case))
        for name, wanted in results(staged, *(tensor.double() for tensor in case)).items():
            error = (found[name].double().cpu() - wanted).norm() / wanted.norm()
            # Rounding errs by a few eps of float32 and one of the dtype; a wrong pair by far more.
            bound = 64 * torch.finfo(torch.float32).eps + torch.finfo(found[name].dtype).eps
            if not error <= bound:
                wrong.append(f"{kind} {name} is off by {error:.1e}")
    return wrong


def results(engine: Any, x: Tensor, grad: Tensor, rotation: Tensor) -> dict[str, Tensor]:  # noqa: ANN401 - a module
    """All results of an engine, by name, for vectors x (n, d) and the gradient (n, d) of R^T x."""
    prepared = engine.prepare(rotation, x.dtype)
    grad_x, grad_rotation = engine.pullback(x, grad, rotation, prepared, needs_x=True)
    return {
        "R^T x": engine.synthesis(x, prepared),
        "R x": engine.analysis(x, prepared),
        "gradient of x": grad_x,
        "gradient of the rotation": grad_rotation,
    }
