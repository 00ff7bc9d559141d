"""Check the settings that `goft plan fits=SIZE` advises, and forecasts for several devices."""

from __future__ import annotations

from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from goft_cli.config.verbs import bytes_of
from goft_cli.rotation import rotate_transposed
from goft_cli.system.errors import USAGE_ERROR
from goft_cli.verbs.plan import calibration
from goft_cli.verbs.plan.batches import forecast
from goft_cli.verbs.plan.calibration import Measured
from goft_cli.verbs.plan.fits import candidates
from goft_cli.verbs.plan.memory import LiveBytes, Memory
from goft_cli.verbs.plan.scaling import Parts, ways
from goft_cli.verbs.plan.stand_in import allocating_only
from tests.conftest import Goft
from tests.support import ddp_bytes, scaling_table, small_runs
from tests.support.gloo_processes import as_ranks
from tests.verbs.conftest import words


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("24GB", 24 * 10**9),
        ("24GiB", 24 * 2**30),
        ("24000MB", 24 * 10**9),
        ("1.5 gib", 3 * 2**29),
        ("24", 0),
        ("24XB", 0),
        ("-1GB", 0),
    ],
)
def test_sizes_as_people_write_them(text: str, size: int) -> None:
    assert bytes_of(text) == size


@pytest.mark.parametrize("text", ["24", "24XB", "much"])
def test_a_mistyped_size_is_refused_with_an_example(text: str, goft: Goft, place: Path) -> None:
    answer = goft("plan", *words(place, f"fits={text}"))
    assert answer.code == USAGE_ERROR
    assert "24GB" in answer.err


def test_what_fits_as_given_is_planned(goft: Goft, place: Path) -> None:
    answer = goft("plan", *words(place, "fits=24GB"))
    assert answer.code == 0, answer.err
    assert "fits as given" in answer.out
    assert "to download: nothing" in answer.out


@pytest.mark.slow
def test_where_nothing_fits_the_smallest_is_named(goft: Goft, place: Path) -> None:
    answer = goft("plan", *words(place, "fits=1MB"))
    assert answer.code == USAGE_ERROR
    assert "the smallest settings" in answer.err
    assert "trainer.per_device_train_batch_size=1" in answer.err


def test_what_is_advised_fits_and_keeps_the_update(place: Path) -> None:
    cfg = small_runs.composed(words(place))
    whole = forecast(cfg)
    assert whole is not None
    room = whole.tensors - 2 * whole.activations // 3
    tried = list(candidates(cfg, room, on_gpu=True))
    assert not tried[0].words
    assert tried[-1].peak <= room < min(one.peak for one in tried[:-1])
    found = small_runs.composed(words(place, *tried[-1].words)).trainer
    size, steps = found.per_device_train_batch_size, found.gradient_accumulation_steps
    assert size * steps == 8
    assert size < 8


def test_an_evaluation_that_is_too_large_gets_smaller_batches(place: Path) -> None:
    """The update fits, so its batch size stays."""
    few = "trainer.per_device_train_batch_size=1", "trainer.gradient_accumulation_steps=8"
    cfg = small_runs.composed(words(place, *few))
    whole = forecast(cfg)
    assert whole is not None
    tried = list(candidates(cfg, whole.tensors - 1, on_gpu=True))
    assert [one.words for one in tried] == [(), ("trainer.per_device_eval_batch_size=1",)]


def test_candidates_are_measured_on_request(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Check that quantized candidates are not measured: their weights cannot be made up."""
    grown = 2**33
    monkeypatch.setattr(calibration, "measure_apart", lambda *_: Measured(1.0, 1.0, grown, grown))
    monkeypatch.setattr("goft_cli.verbs.plan.fits.free_bytes", lambda _: 2**40)
    cfg = small_runs.composed(words(place, "trainer.use_cpu=true"))
    for tried in candidates(cfg, 1, on_gpu=False, measuring=True):
        packed = any("quantization" in word for word in tried.words)
        assert (tried.peak > grown) != packed


def test_a_measurement_that_the_system_ends_leaves_the_forecast(
    goft: Goft, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def end(*_: object) -> Measured:
        raise BrokenProcessPool

    monkeypatch.setattr(calibration, "measure_apart", end)
    answer = goft("plan", *words(place, "calibrate=true", "fits=1000GB"))
    assert answer.code == 0, answer.err
    assert "fits as given" in answer.out
    assert "no forecast of time: the system ended" in " ".join(answer.out.split())


@pytest.mark.parametrize("rotation", [torch.zeros(63), torch.eye(2).repeat(63, 1, 1)])
def test_the_stand_in_takes_what_the_rotation_takes(rotation: Tensor) -> None:
    def peak() -> int:
        x = torch.randn(5000, 64, requires_grad=True)
        turned = rotation.clone().requires_grad_()
        rotate_transposed(x, turned).sum().backward()  # allocates what later calls reuse
        x.grad = turned.grad = None
        with LiveBytes([x, turned]) as live:
            (rotate_transposed(x, turned) * 1).sum().backward()
        return live.peak

    with allocating_only():
        foreseen = peak()
    assert foreseen == pytest.approx(peak(), rel=0.02)


@given(st.integers(2, 64), st.integers(1, 8), st.integers(1, 10**9), st.integers(1, 10**9))
def test_sharing_more_holds_less_and_sends_more(
    devices: int, steps: int, weights: int, trained: int
) -> None:
    memory = Memory(0, weights + trained, trained, 2 * trained, 1000, 0, weights, 0, 0)
    ddp, second, third = ways(memory, Parts(trained, 0), devices, steps)
    assert third.training <= second.training <= ddp.training
    assert third.sent >= second.sent >= ddp.sent - 1
    assert ddp.sent <= 2 * trained, "the frozen base does not travel"
    alone, *_ = ways(memory, Parts(trained, 0), 1, steps)
    assert (alone.sent, alone.training) == (0, memory.weights + 3 * trained + 1000)
    packed = ways(memory, Parts(trained, 0), devices, steps, packed=True)
    assert packed == [replace(ddp)]


@pytest.mark.slow
def test_ddp_exchanges_the_adapters_gradients_alone(tmp_path: Path) -> None:
    as_ranks(lambda: ddp_bytes.main(tmp_path / "bytes"))
    exchanged = int((tmp_path / "bytes").read_text(encoding="utf-8"))
    trained = 4 * (63 + 31)
    assert exchanged == trained
    way, *_ = ways(Memory(0, 0, 0, 0, 0, 0, 0, 0, 0), Parts(trained, 0), 2, 1)
    assert way.sent == exchanged, "of two processes each sends half twice"


@pytest.mark.slow
def test_the_table_of_the_document_is_the_plans(monkeypatch: pytest.MonkeyPatch) -> None:
    """Check the smaller model's lines only; the larger model would take even longer."""
    written = Path(__file__).parents[2] / "docs" / "scaling.md"
    monkeypatch.delitem(scaling_table.SHAPES, "LLaMA2-70B")
    lines = scaling_table.table().splitlines()
    assert len(lines) == 2 + 7 + 3
    assert {*lines} <= {*written.read_text(encoding="utf-8").splitlines()}
