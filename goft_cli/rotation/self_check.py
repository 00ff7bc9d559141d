"""Whether an engine that somebody else compiles can be trusted here."""

from __future__ import annotations

import warnings
from functools import partial
from typing import Any

import torch
from torch import Tensor

from goft_cli.rotation import staged


def results(engine: Any, x: Tensor, grad: Tensor, rotation: Tensor) -> dict[str, Tensor]:  # noqa: ANN401 - a module
    """All that an engine computes, by name.

    Args:
        engine: see `engines.Engine`.
        x: (n, d).
        grad: (n, d), of R^T x.
        rotation: (d-1,) or (d-1, 2, 2).
    """
    prepared = engine.prepare(rotation, x.dtype)
    grad_x, grad_rotation = engine.pullback(x, grad, rotation, prepared, needs_x=True)
    return {
        "R^T x": engine.synthesis(x, prepared),
        "R x": engine.analysis(x, prepared),
        "gradient of x": grad_x,
        "gradient of the rotation": grad_rotation,
    }


def passes(
    engine: Any,  # noqa: ANN401 - a module
    name: str,
    shape: tuple[int, int],
    dtype: torch.dtype,
    device: torch.device,
    remedy: str,
) -> bool:
    """Whether an engine runs and agrees with the staged one; if not, a warning says why.

    Args:
        engine: see `engines.Engine`.
        name: of the engine, for the warning.
        shape: (n, d) of the vectors to try it on.
        dtype: of the vectors.
        device: of the vectors.
        remedy: for a fault that is not a missing package, for the warning.
    """
    fault = _fault(engine, shape, dtype, device, remedy)
    if fault:
        sentence = f"{name}: {fault}; until then the blocked form is used"
        warnings.warn(sentence, RuntimeWarning, stacklevel=2)
    return not fault


def _fault(
    engine: Any,  # noqa: ANN401 - a module
    shape: tuple[int, int],
    dtype: torch.dtype,
    device: torch.device,
    remedy: str,
) -> str:
    """What keeps the engine from being used, and the remedy; empty if nothing does."""
    try:
        wrong = ", ".join(disagreements(engine, shape, dtype, device))
    except ModuleNotFoundError as error:
        return f"{error}, pip install {error.name}"
    except Exception as error:  # whatever its compiler, or the driver, raises
        wrong = f"{type(error).__name__}: {error}"
    return wrong and f"{wrong} in {dtype} on {device}, {remedy}"


@torch.no_grad()
def disagreements(
    engine: Any,  # noqa: ANN401 - a module
    shape: tuple[int, int],
    dtype: torch.dtype,
    device: torch.device,
) -> list[str]:
    """What differs from the staged engine in float64 on the CPU, strict and quasi, in words."""
    rows, dim = shape
    draw = partial(torch.randn, generator=torch.Generator().manual_seed(0), device="cpu")
    wrong: list[str] = []
    for kind, rotation in (("strict", draw(dim - 1)), ("quasi", draw(dim - 1, 2, 2) / 2)):
        case = draw(rows, dim).to(dtype), draw(rows, dim).to(dtype), rotation
        found = results(engine, *(tensor.to(device) for tensor in case))
        for name, wanted in results(staged, *(tensor.double() for tensor in case)).items():
            error = (found[name].double().cpu() - wanted).norm() / wanted.norm()
            # Rounding costs a few eps of float32 and one at the end; a wrong pair costs everything.
            bound = 64 * torch.finfo(torch.float32).eps + torch.finfo(found[name].dtype).eps
            if not error <= bound:
                wrong.append(f"{kind} {name} is off by {error:.1e}")
    return wrong
