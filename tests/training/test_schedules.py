"""Test FacT's learning-rate schedule against values from its description, and in the trainer."""

from __future__ import annotations

import math

import pytest
import torch
from torch.optim import SGD

from goft_cli.training.callbacks import by_epoch, fact_cosine
from tests.support import short_training as training

PEAK, WARMUP, EPOCHS = 1e-3, 10, 100


def rate(done: int) -> float:
    return fact_cosine(done, peak=PEAK, warmup=WARMUP, epochs=EPOCHS)


def test_the_first_two_epochs_train_at_the_bottom() -> None:
    assert rate(0) == rate(1) == 1e-6


def test_the_warm_up_is_a_line_one_epoch_late() -> None:
    for done in range(1, WARMUP + 1):
        assert rate(done) == pytest.approx(1e-6 + (done - 1) * (PEAK - 1e-6) / WARMUP)


def test_the_cosine_joins_below_the_peak() -> None:
    rates = [rate(done) for done in range(EPOCHS)]
    assert max(rates) == rates[WARMUP + 1] == pytest.approx(9.758e-4, abs=5e-8)
    assert rates[WARMUP + 1 :] == sorted(rates[WARMUP + 1 :], reverse=True)
    half = 1e-5 + (PEAK - 1e-5) / 2
    assert rates[EPOCHS // 2 + 1] == pytest.approx(half)


def test_the_last_epoch_is_one_step_before_the_floor() -> None:
    floor = 1e-5 + (PEAK - 1e-5) * (1 + math.cos(math.pi * 98 / 100)) / 2
    assert rate(EPOCHS - 1) == pytest.approx(floor)
    assert rate(EPOCHS - 1) > 1e-5


def test_without_warm_up_it_starts_at_the_peak() -> None:
    assert fact_cosine(0, peak=PEAK, warmup=0, epochs=EPOCHS) == PEAK


def test_every_update_of_an_epoch_has_its_rate() -> None:
    optimizer = SGD([torch.nn.Parameter(torch.zeros(1))], lr=PEAK)
    schedule = by_epoch(fact_cosine, optimizer, updates=1500, warmup=150, epochs=EPOCHS)
    found = []
    for _ in range(1500):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert found == pytest.approx([rate(update // 15) for update in range(1500)])


def test_the_trainer_follows_it() -> None:
    one = training.trainer(
        training.adapted("goft"),
        batch=8,
        rate=fact_cosine,
        max_steps=-1,
        num_train_epochs=5,
        learning_rate=PEAK,
        warmup_steps=0.4,
        lr_scheduler_type="constant",
    )
    one.train()
    logged = [row["learning_rate"] for row in one.state.log_history if "learning_rate" in row]
    expected = [fact_cosine(epoch, peak=PEAK, warmup=2, epochs=5) for epoch in range(5)]
    assert logged == pytest.approx([each for each in expected for _ in range(training.STEPS)])
