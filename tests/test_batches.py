"""However many devices share it out, one update is what `task.global_batch` says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goft_cli.batches import accumulation_steps, device_batch
from goft_cli.config import GlobalBatch
from goft_cli.errors import GoftError
from tests.small import composed

READINGS = list(GlobalBatch)


@pytest.fixture
def devices(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> int:
    """Say how many there are, as a launcher does."""
    monkeypatch.setenv("WORLD_SIZE", str(request.param))
    return request.param


@pytest.mark.parametrize("update", READINGS)
@pytest.mark.parametrize("devices", [1, 2, 4, 8, 32], indirect=True)
@pytest.mark.parametrize("most", [1, 7, 32, 1000])
def test_the_product_is_the_update(update: GlobalBatch, devices: int, most: int) -> None:
    size = device_batch(most, update)
    steps = accumulation_steps(1, size, update)
    assert size * steps * devices == update.value
    assert 1 <= size <= most


@given(st.integers(1, 1000), st.integers(1, 100))
def test_without_a_choice_the_recipe_holds(size: int, steps: int) -> None:
    assert device_batch(size, None) == size
    assert accumulation_steps(steps, size, None) == steps


@pytest.mark.parametrize("devices", [3], indirect=True)
def test_devices_that_do_not_divide_are_refused(devices: int) -> None:
    sentence = r"global_batch=total_32: 32 examples do not divide evenly \(devices: 3"
    with pytest.raises(GoftError, match=sentence + r"\).*pass trainer.per_device_train_batch_size"):
        device_batch(32, GlobalBatch.total_32)
    with pytest.raises(GoftError, match=sentence + r", batch on each: 8\)"):
        accumulation_steps(1, 8, GlobalBatch.total_32)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], (32, 4)),
        (["task.global_batch=accumulated_64"], (32, 2)),
        (["task.global_batch=total_32"], (32, 1)),
        (["trainer.per_device_train_batch_size=8"], (8, 16)),
        (
            ["trainer.per_device_train_batch_size=5", "trainer.gradient_accumulation_steps=3"],
            (5, 3),
        ),
    ],
)
def test_the_composed_configuration_shows_it(words: list[str], expected: tuple[int, int]) -> None:
    trainer = composed(["task=instruct/alpaca", *words]).trainer
    found = trainer.per_device_train_batch_size, trainer.gradient_accumulation_steps
    assert found == expected


@pytest.mark.parametrize("devices", [2], indirect=True)
def test_two_devices_are_the_papers_own(devices: int) -> None:
    trainer = composed(["task=instruct/alpaca"]).trainer
    assert (trainer.per_device_train_batch_size, trainer.gradient_accumulation_steps) == (32, 2)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["trainer.per_device_train_batch_size=24"], r"^task.global_batch=per_device_128: 128 exa"),
        (["trainer.per_device_train_batch_size=0"], r"per_device_train_batch_size=0 is out of ran"),
    ],
)
def test_a_size_that_does_not_fit_is_one_sentence(words: list[str], sentence: str) -> None:
    with pytest.raises(GoftError, match=sentence):
        composed(["task=instruct/alpaca", *words])
