"""Test which engine is chosen, and how code and the environment force one."""

from __future__ import annotations

from importlib import reload
from typing import Literal

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx

from goft_cli.rotation import ENGINES, blocked, compiled, engines, force_engine, rotate
from goft_cli.rotation.engines import choose_engine
from tests.support.forks import start

CPU = torch.device("cpu")
DIM = 96
here = [name for name in ENGINES if ENGINES[name].supports(DIM, torch.float32, CPU)]
needs_loops = pytest.mark.skipif(not compiled.available(), reason="needs a C compiler and OpenMP")


@needs_loops
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_cpu_is_given_the_compiled_engine(dtype: torch.dtype) -> None:
    assert choose_engine(torch.empty(1, 3, dtype=dtype)) == "compiled"
    assert choose_engine(torch.empty(64, 97, dtype=dtype)) == "compiled"


@needs_loops
@pytest.mark.filterwarnings("ignore:.*torch.jit.trace:DeprecationWarning")
def test_what_is_recorded_or_has_no_memory_is_left_to_the_blocked_engine() -> None:
    names: list[str] = []

    def traced(x: Tensor) -> Tensor:
        names.append(choose_engine(x))
        return x + 1

    with FakeTensorMode():
        names.append(choose_engine(torch.empty(64, DIM)))
    torch.jit.trace(traced, torch.empty(64, DIM), check_trace=False)
    names.append(choose_engine(torch.empty(64, DIM).double()))
    names.append(choose_engine(torch.empty(64, DIM, device="meta")))
    assert names == ["blocked"] * 4


@pytest.mark.parametrize("mode", ["real", "fake"])
def test_a_recorded_graph_turns_other_vectors_too(mode: Literal["real", "fake"]) -> None:
    x, other, rotation = torch.rand(4, DIM), torch.rand(4, DIM), torch.rand(DIM - 1)
    with force_engine("blocked"):
        expected = rotate(other, rotation)
    graph = make_fx(lambda *given: rotate(*given), tracing_mode=mode)(x, rotation)
    torch.testing.assert_close(graph(other, rotation), expected)


def test_stand_ins_are_turned_after_real_vectors() -> None:
    with force_engine("blocked"):
        rotate(torch.rand(4, DIM), torch.rand(DIM - 1))
        with FakeTensorMode():
            assert rotate(torch.rand(4, DIM), torch.rand(DIM - 1)).shape == (4, DIM)


@pytest.mark.parametrize("engine", here)
def test_the_default_device_is_not_asked(engine: str) -> None:
    dim = 43  # used by no other test, so nothing is cached for it
    rotation, x = torch.rand(dim - 1, requires_grad=True), torch.rand(5, dim)
    found: list[Tensor] = []
    for device in ("meta", "cpu"):
        with torch.device(device), force_engine(engine):
            found += torch.autograd.grad(rotate(x, rotation).sum(), rotation)
    assert torch.equal(*found)


def test_what_is_forced_innermost_decides() -> None:
    x = torch.empty(1, DIM)
    best = choose_engine(x)
    with force_engine("staged"):
        assert choose_engine(x) == "staged"
        with force_engine("auto"):
            assert choose_engine(x) == best
    assert choose_engine(x) == best


def test_an_engine_that_cannot_or_does_not_exist_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(blocked, "supports", lambda dim, dtype, device: dim != 97)
    with (
        force_engine("blocked"),
        pytest.raises(ValueError, match=r"blocked .*97 .*torch.float"),
    ):
        rotate(torch.zeros(3, 97), torch.zeros(96))
    with pytest.raises(ValueError, match=r"quick .*auto, staged"):
        force_engine("quick").__enter__()


@pytest.mark.parametrize(
    ("value", "says"),
    [("staged", "staged"), ("quick", "GOFT_ENGINE=quick is unknown")],
)
def test_the_environment_forces_an_engine(value: str, says: str) -> None:
    def work() -> None:
        read_again = reload(engines)  # the variable is read when the module is imported
        print(read_again.choose_engine(torch.empty(1, DIM)))

    _, said = start(work, GOFT_ENGINE=value).end()
    assert says in said
