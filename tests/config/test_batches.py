"""One update has as many rows as `task.global_batch` states, on any number of devices."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goft_cli.config import GlobalBatch
from goft_cli.config.trainer import accumulation_steps, device_batch
from goft_cli.system.errors import GoftError
from tests.support.small_runs import composed


@given(st.sampled_from(GlobalBatch), st.sampled_from([1, 2, 4, 8, 32]), st.integers(1, 1000))
def test_the_product_is_the_update(update: GlobalBatch, devices: int, most: int) -> None:
    size = device_batch(most, update, devices)
    steps = accumulation_steps(1, size, update, devices)
    assert size * steps * devices == update.value
    assert 1 <= size <= most


@given(st.integers(1, 1000), st.integers(1, 100))
def test_without_a_choice_the_recipe_holds(size: int, steps: int) -> None:
    assert device_batch(size, None, 2) == size
    assert accumulation_steps(steps, size, None, 2) == steps


def test_devices_that_do_not_divide_are_refused() -> None:
    with pytest.raises(GoftError, match=r"=total_32: .* 3.*trainer.per_device_train_batch_size"):
        device_batch(32, GlobalBatch.total_32, 3)
    with pytest.raises(GoftError, match=r"=total_32: .*devices: 3.* 8"):
        accumulation_steps(1, 8, GlobalBatch.total_32, 3)


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


@pytest.mark.parametrize("started", [False, True])
def test_two_devices_are_the_papers_own(started: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if started:  # by torchrun or accelerate launch
        monkeypatch.setenv("WORLD_SIZE", "2")
    words = [] if started else ["launcher.num_processes=2"]
    cfg = composed(["task=instruct/alpaca", *words])
    trainer = cfg.trainer
    assert cfg.launcher.num_processes == 2
    assert (trainer.per_device_train_batch_size, trainer.gradient_accumulation_steps) == (32, 2)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["trainer.per_device_train_batch_size=24"], r"^task.global_batch=per_device_128: "),
        (["launcher.num_processes=3"], r"^task.global_batch=per_device_128: .*devices: 3"),
        (["launcher.num_processes=0"], r"launcher.num_processes=0 "),
        (["trainer.per_device_train_batch_size=0"], r"per_device_train_batch_size=0 "),
    ],
)
def test_a_size_that_does_not_fit_is_one_sentence(words: list[str], sentence: str) -> None:
    with pytest.raises(GoftError, match=sentence):
        composed(["task=instruct/alpaca", *words])
