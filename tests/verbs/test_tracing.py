"""Check memory counted on tensors without data against sums computed by hand."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from transformers import PreTrainedModel

from goft_cli.tasks.families import build_task
from goft_cli.verbs.plan.batches import stand_in_batch
from goft_cli.verbs.plan.layers import attached
from goft_cli.verbs.plan.memory import LiveBytes, traced_bytes
from goft_cli.verbs.plan.steps import Batches
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
    (folder / "model.safetensors").unlink()  # weights are not needed
    return folder


def traced(model: Path, rows: int, *words: str) -> tuple[int, int]:
    """Return the peaks of an update and of an evaluation."""
    cfg = small_runs.composed(small_runs.overrides(model, model, model / "run", *words))
    tokens = torch.zeros(rows, LENGTH, dtype=torch.long)
    batch: dict[str, Tensor] = {
        "input_ids": tokens,
        "attention_mask": torch.ones_like(tokens),
        "labels": torch.zeros(rows, dtype=torch.long),
    }
    batches = Batches(batch, batch)
    return traced_bytes(attached(cfg, cfg.adapter), batches, cfg.trainer, "cpu")


@pytest.mark.slow
@pytest.mark.parametrize("adapter", ["qgoft", "lora"])
def test_activations_grow_with_the_batch(adapter: str, model: Path) -> None:
    one, two, three = (traced(model, n * ROWS, f"adapter={adapter}")[0] for n in (1, 2, 3))
    assert three - two == pytest.approx(two - one, rel=0.01)
    assert two > 1.5 * one, "what belongs to the weights alone is little"


@pytest.mark.slow
@pytest.mark.parametrize("word", ["trainer.bf16=true", "trainer.gradient_checkpointing=true"])
def test_what_saves_memory_is_seen(word: str, model: Path) -> None:
    assert traced(model, 4 * ROWS, word)[0] < 0.9 * traced(model, 4 * ROWS)[0]


@pytest.mark.slow
def test_an_evaluation_keeps_no_activations(model: Path) -> None:
    kept, freed = traced(model, 4 * ROWS)
    assert 0 < freed < kept
    checkpointed = traced(model, 4 * ROWS, "trainer.gradient_checkpointing=true")
    assert checkpointed[1] == freed, "there is nothing to compute again"


def test_an_evaluation_holds_its_logits_and_a_copy() -> None:
    cfg = small_runs.composed(["model=tiny-llama", "task=instruct/alpaca", "task.max_length=16"])

    def scored(rows: int) -> int:
        model = attached(cfg, cfg.adapter)
        batch = stand_in_batch(build_task(cfg.task), model.get_base_model(), rows)
        return traced_bytes(model, Batches(batch, batch), cfg.trainer, "cpu")[1]

    width = cast("PreTrainedModel", attached(cfg, cfg.adapter)).config.vocab_size
    logits = 16 * width * torch.float32.itemsize
    assert scored(64) - scored(32) >= 2 * 32 * logits
