"""Memory counted on tensors without data, against what can be added up by hand."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from goft_cli.verbs.plan.layers import attached
from goft_cli.verbs.plan.memory import LiveBytes, step_bytes
from tests.support import small_runs

ROWS, LENGTH = 8, 16


def test_storages_count_once_while_they_live() -> None:
    with FakeTensorMode():
        given = torch.empty(8, 8)
        with LiveBytes([given]) as live:
            first = given + given
            view = first.T.reshape(-1)[:5]
            assert live.live == live.peak == 2 * 8 * 8 * 4  # the transpose is copied to be flat
            given.mul_(2)
            del first, view
            assert live.live == 0
            torch.empty(3, dtype=torch.float64)
            assert (live.live, live.peak) == (0, 512)


def test_a_backward_pass_needs_what_was_kept_and_leaves_the_gradient() -> None:
    activation, gradient = 16 * 4 * 4, 4 * 4 * 4
    with FakeTensorMode():
        weight = torch.empty(4, 4, requires_grad=True)
        x = torch.empty(16, 4)
        with LiveBytes([weight, x]) as live:
            loss = (x @ weight).exp().sum()
            assert live.live == activation + 4, "the exponential and the loss; the product is gone"
            loss.backward()
            del loss
            assert live.live == gradient
            assert live.peak >= 2 * activation + 4, "the exponential and its gradient"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = small_runs.write_model(tmp_path_factory.mktemp("model"))
    (folder / "model.safetensors").unlink()  # there is no need of them
    return folder


def step(model: Path, rows: int, *words: str) -> int:
    cfg = small_runs.composed(small_runs.overrides(model, model, model / "run", *words))
    tokens = torch.zeros(rows, LENGTH, dtype=torch.long)
    batch: dict[str, Tensor] = {
        "input_ids": tokens,
        "attention_mask": torch.ones_like(tokens),
        "labels": torch.zeros(rows, dtype=torch.long),
    }
    return step_bytes(attached(cfg, cfg.adapter), batch, cfg.trainer, "cpu")


@pytest.mark.slow
@pytest.mark.parametrize("adapter", ["qgoft", "lora"])
def test_activations_grow_with_the_batch(adapter: str, model: Path) -> None:
    one, two, three = (step(model, n * ROWS, f"adapter={adapter}") for n in (1, 2, 3))
    assert three - two == pytest.approx(two - one, rel=0.01)
    assert two > 1.5 * one, "what belongs to the weights alone is little"


@pytest.mark.slow
@pytest.mark.parametrize("word", ["trainer.bf16=true", "trainer.gradient_checkpointing=true"])
def test_what_saves_memory_is_seen(word: str, model: Path) -> None:
    assert step(model, 4 * ROWS, word) < 0.9 * step(model, 4 * ROWS)
