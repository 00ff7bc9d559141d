"""Kernels that fail or give wrong results are not used, and one warning says so."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
import torch

from goft_cli.rotation import fused

pytest.importorskip("triton", reason="the fused kernels need Triton")

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget the results of earlier self-checks."""
    monkeypatch.setattr(fused, "_healthy", {})


class Lying:
    """A kernel that negates the output tensor at one place of its arguments."""

    def __init__(self, kernel: Any, place: int) -> None:  # noqa: ANN401 - Triton's, or its interpreter's
        self.kernel, self.place = kernel, place

    def __getitem__(self, grid: tuple[int, ...]) -> Callable[..., None]:
        def launch(*args: torch.Tensor, **constants: int) -> None:
            self.kernel[grid](*args, **constants)
            args[self.place].neg_()

        return launch


def test_what_is_right_is_used_and_found_out_outside_of_a_graph() -> None:
    @torch.compile(fullgraph=True, backend="eager")
    def supported(x: torch.Tensor) -> torch.Tensor:
        return x + fused.supports(96, torch.bfloat16, CPU)

    assert supported(torch.zeros(())) == 1
    assert fused._healthy == {(torch.bfloat16, CPU): True}


def test_a_lie_is_found_out_once(monkeypatch: pytest.MonkeyPatch) -> None:
    kernels = fused._kernels()
    for name, place in (("synthesis", 2), ("collect", 1)):
        monkeypatch.setattr(kernels, name, Lying(getattr(kernels, name), place))
    lies = r"strict R\^T x is off by [^,]*, strict gradient of the rotation is off by .*"
    with pytest.warns(
        RuntimeWarning, match=lies + "update torch and Triton; the blocked engine"
    ) as said:
        assert not fused.supports(96, torch.float32, CPU)
    assert len(said) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not fused.supports(96, torch.float32, CPU)


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (RuntimeError("no ptxas"), "RuntimeError: no ptxas in torch.float32 on cpu, update torch"),
        (
            ModuleNotFoundError("no triton", name="triton"),
            "no triton, pip install triton; the",
        ),
    ],
)
def test_what_cannot_run_is_named_with_a_remedy(
    error: Exception, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> ModuleType:
        raise error

    monkeypatch.setattr(fused, "_kernels", fail)
    with pytest.warns(RuntimeWarning, match=sentence):
        assert not fused.supports(96, torch.float32, CPU)


@pytest.mark.parametrize(
    ("dim", "dtype", "device"),
    [
        (1, torch.float32, "cpu"),
        (fused.MAX_DIM + 1, torch.float32, "cpu"),
        (8, torch.float64, "cpu"),
        (8, torch.float32, "meta"),
    ],
)
def test_the_rest_is_left_to_others_untried(dim: int, dtype: torch.dtype, device: str) -> None:
    assert not fused.supports(dim, dtype, torch.device(device))
    assert not fused._healthy


def test_the_cpu_does_not_count_without_the_interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRITON_INTERPRET")
    assert not fused.supports(8, torch.float32, CPU)
    assert not fused._healthy
