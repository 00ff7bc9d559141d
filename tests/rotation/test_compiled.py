"""The C loops are right for any number of vectors and threads, or the blocked engine is used."""

from __future__ import annotations

import platform
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import pytest
import torch
from torch import Tensor

from goft_cli.rotation import compiled, staged
from goft_cli.rotation.engines import choose_engine
from goft_cli.rotation.self_check import results

Draw = Callable[..., Tensor]
Tolerance = Callable[[torch.dtype, int], float]
Found = dict[str, Tensor]

DIM = 75
"""Neither a multiple of the register width nor a power of two."""

both_kinds = pytest.mark.parametrize("kind", ["strict", "quasi"])
needs_loops = pytest.mark.skipif(not compiled.available(), reason="needs a C compiler and OpenMP")


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], None]]:
    """Yield a function that sets the number of threads; even little work is split over all."""
    monkeypatch.setattr(compiled, "GRAIN", 1)
    compiled._plan.cache_clear()
    monkeypatch.setattr(compiled, "_memory", compiled._Memory())
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)
    compiled._plan.cache_clear()


def case(draw: Draw, kind: str, count: int, dim: int = DIM) -> tuple[Tensor, Tensor, Tensor]:
    """Return vectors (count, dim), a gradient of the same shape and a rotation."""
    generator = torch.Generator().manual_seed(count)
    x, grad = torch.randn(2, count, dim, generator=generator)
    return x, grad, draw(kind, dim).float()


def check(found: Found, tensors: tuple[Tensor, ...], tolerance: Tolerance) -> None:
    """Compare all results of the loops with the staged engine in float64."""
    bound = 4 * tolerance(torch.float32, tensors[0].shape[1])
    for name, wanted in results(staged, *(tensor.double() for tensor in tensors)).items():
        assert (found[name] - wanted).norm() <= bound * wanted.norm(), name


@needs_loops
@both_kinds
@pytest.mark.parametrize("count", [1, 7, 8, 33, 1025, 2100])
def test_tiles_and_shares_that_are_not_full(
    count: int, kind: str, draw: Draw, tolerance: Tolerance
) -> None:
    tensors = case(draw, kind, count)
    check(results(compiled, *tensors), tensors, tolerance)


@needs_loops
@pytest.mark.skipif(platform.machine() != "x86_64", reason="these are flags of x86-64")
@pytest.mark.parametrize("without", [["-mno-avx512f"], ["-mno-avx512f", "-mno-avx2"]])
def test_narrower_registers_compute_the_same(
    without: list[str],
    draw: Draw,
    tolerance: Tolerance,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(compiled, "FLAGS", (*compiled.FLAGS, *without))
    for cached in (compiled._loops, compiled.padded_size):
        monkeypatch.setattr(compiled, cached.__name__, cache(cached.__wrapped__))
    for dim in (2, 3, 16, 33, 64, 127):
        for kind in ("strict", "quasi"):
            tensors = case(draw, kind, 5, dim)
            check(results(compiled, *tensors), tensors, tolerance)


@needs_loops
@both_kinds
@pytest.mark.parametrize("dim", [2, 33, 75, 768])
def test_bfloat16_is_the_float32_result_rounded_once(dim: int, kind: str, draw: Draw) -> None:
    x, grad, rotation = case(draw, kind, 37, dim)
    x[3, 1], x[5, 0] = torch.inf, torch.nan
    narrow = x.bfloat16(), grad.bfloat16(), rotation
    wanted = results(compiled, *(tensor.float() for tensor in narrow))
    for name, found in results(compiled, *narrow).items():
        expected = wanted[name].to(found.dtype)
        assert torch.equal(found.nan_to_num(7), expected.nan_to_num(7)), name
        assert torch.equal(found.isnan(), expected.isnan()), name


@needs_loops
@both_kinds
@pytest.mark.parametrize("count", [33, 1100])
def test_any_number_of_threads_gives_the_same_bits(
    count: int, kind: str, draw: Draw, threads: Callable[[int], None]
) -> None:
    found: list[Found] = []
    for number in (1, 2, 5):
        threads(number)
        found.append(results(compiled, *case(draw, kind, count)))
    for other in found[1:]:
        assert all(torch.equal(found[0][name], other[name]) for name in other)


@needs_loops
def test_callers_on_several_threads_do_not_meet(draw: Draw, tolerance: Tolerance) -> None:
    # The sizes rise and fall, so that each thread allocates new scratch memory in between.
    cases = [case(draw, "strict", 50 * (k % 5 + 1), 40 + k % 3) for k in range(60)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda tensors: results(compiled, *tensors), cases))
    for one, tensors in zip(found, cases, strict=True):
        check(one, tensors, tolerance)


@needs_loops
def test_scratch_memory_grows_with_what_is_asked(
    draw: Draw, tolerance: Tolerance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiled, "_memory", compiled._Memory())
    few, many = case(draw, "quasi", 4), case(draw, "quasi", 400)
    sizes: list[int] = []
    for tensors in (few, many, few):
        check(results(compiled, *tensors), tensors, tolerance)
        sizes.append(len(compiled._memory.bytes))
    assert 0 < sizes[0] < sizes[1] == sizes[2]


@needs_loops
@pytest.mark.parametrize("device", ["meta", "cpu"])
def test_the_default_device_is_not_asked(
    device: str, draw: Draw, tolerance: Tolerance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiled, "_healthy", [])
    monkeypatch.setattr(compiled, "_memory", compiled._Memory())
    tensors = case(draw, "strict", 70)
    with torch.device(device):
        assert choose_engine(tensors[0]) == "compiled"
        found = results(compiled, *tensors)
    check(found, tensors, tolerance)


@needs_loops
def test_nothing_is_written_but_the_results(draw: Draw) -> None:
    tensors = case(draw, "strict", 70)
    before = [tensor.clone() for tensor in tensors]
    results(compiled, *tensors)
    assert all(torch.equal(one, other) for one, other in zip(tensors, before, strict=True))


@pytest.mark.parametrize("missing", ["can_build", "has_team"])
def test_without_what_it_needs_the_blocked_engine_takes_over_silently(
    missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiled, "_healthy", [])
    monkeypatch.setattr(compiled, missing, lambda: False)
    assert choose_engine(torch.empty(64, DIM)) == "blocked"


@needs_loops
def test_loops_that_are_wrong_are_found_out_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def lie(x: Tensor, prepared: tuple[Tensor, ...]) -> Tensor:
        return -compiled._turned(x, prepared[0], transposed=True)

    monkeypatch.setattr(compiled, "_healthy", [])
    monkeypatch.setattr(compiled, "synthesis", lie)
    sentence = r"strict R\^T x .* CC .*blocked"
    with pytest.warns(RuntimeWarning, match=sentence):
        assert choose_engine(torch.empty(64, DIM)) == "blocked"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert choose_engine(torch.empty(64, DIM)) == "blocked"
