"""Test the class-weighted loss against a plain training loop, and in a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional
from torch.nn.utils import parameters_to_vector

from goft_cli.run import pipeline
from goft_cli.system.errors import GoftError
from goft_cli.tasks.classes import balanced_weights
from goft_cli.training import trainer as building
from goft_cli.training.weighted_loss import WeightedLoss
from tests.support import short_training as training
from tests.support import small_runs

# Plain SGD: each update adds the rounding error of gradients that are summed in another order.
TOLERANCE = 64 * training.STEPS * torch.finfo(torch.float32).eps


@settings(deadline=None)
@given(st.lists(st.integers(0, 4), min_size=1, max_size=60))
def test_balanced_weights_let_each_class_count_alike(labels: list[int]) -> None:
    weights = balanced_weights(labels, 6)
    counts = np.bincount(labels, minlength=6)
    shares = (weights * counts)[counts > 0]
    np.testing.assert_allclose(shares, len(labels) / len(shares))
    assert np.mean(weights[labels]) == pytest.approx(1)
    assert all(weights[counts == 0] == 1)


def plain_loop(smoothing: float) -> torch.Tensor:
    """Train with SGD and torch's cross entropy, row by row; return the trained weights."""
    model, rows = training.adapted("lora"), training.rows()
    weights = torch.tensor(training.WEIGHTS, dtype=torch.float32)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.SGD(trained, lr=0.05)
    for step in range(training.STEPS):
        batch = rows[step * training.GLOBAL_BATCH : (step + 1) * training.GLOBAL_BATCH]
        logits = model(input_ids=torch.tensor(batch["input_ids"])).logits
        loss = torch.zeros(())
        for row, label in zip(logits, batch["labels"], strict=True):
            one = functional.cross_entropy(row, torch.tensor(label), label_smoothing=smoothing)
            loss = loss + weights[label] * one
        (loss / training.GLOBAL_BATCH).backward()
        optimizer.step()
        optimizer.zero_grad()
    return parameters_to_vector(trained)


@pytest.mark.parametrize(("smoothing", "accumulate"), [(0.0, 1), (0.0, 2), (0.1, 2)])
def test_a_plain_loop_leads_to_the_same_weights(smoothing: float, accumulate: int) -> None:
    model = training.adapted("lora")
    batch = training.GLOBAL_BATCH // accumulate
    options: dict[str, Any] = {
        "train_sampling_strategy": "sequential",
        "lr_scheduler_type": "constant",
    }
    one = training.trainer(model, batch=batch, accumulate=accumulate, **options)
    one.compute_loss_func = WeightedLoss(training.WEIGHTS, smoothing)
    one.train()
    found = parameters_to_vector([p for p in model.parameters() if p.requires_grad])
    torch.testing.assert_close(found, plain_loop(smoothing), rtol=TOLERANCE, atol=TOLERANCE)


def test_an_evaluation_is_not_weighted() -> None:
    logits, labels = torch.randn(3, 2), torch.tensor([0, 1, 1])
    found = WeightedLoss(training.WEIGHTS)({"logits": logits}, labels)  # pyright: ignore[reportArgumentType] - as a mapping
    torch.testing.assert_close(found, functional.cross_entropy(logits, labels))


def test_trainers_evaluation_is_not_weighted() -> None:
    model, rows = training.adapted("lora").eval(), training.rows(training.GLOBAL_BATCH)
    one = training.trainer(model, batch=training.GLOBAL_BATCH)
    one.compute_loss_func = WeightedLoss(training.WEIGHTS)
    logits = model(input_ids=torch.tensor(rows["input_ids"])).logits
    expected = functional.cross_entropy(logits, torch.tensor(rows["labels"])).item()
    assert training.evaluation_loss(one) == pytest.approx(expected, rel=1e-5)


def test_places_without_a_label_do_not_count() -> None:
    logits, labels = torch.randn(2, 3, 2), torch.tensor([[0, -100, 1], [-100, -100, 1]])
    loss = WeightedLoss(training.WEIGHTS)
    found = loss({"logits": logits}, labels, 3)  # pyright: ignore[reportArgumentType] - as a mapping
    kept = labels != -100
    again = loss({"logits": logits[kept]}, labels[kept], 3)  # pyright: ignore[reportArgumentType]
    torch.testing.assert_close(found, again)


def test_a_run_weighs_the_classes_of_its_training_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, data = small_runs.write_model(tmp_path / "model"), tmp_path / "data"
    small_runs.write_data(data)
    rows = "the dog runs .\t1\n" * 9 + "the dog not runs .\t0\n" * 3
    (data / "train.tsv").write_text("sentence\tlabel\n" + rows)
    seen: list[np.ndarray] = []

    def kept(weights: np.ndarray, smoothing: float) -> WeightedLoss:
        seen.append(weights)
        return WeightedLoss(weights, smoothing)

    monkeypatch.setattr(building, "WeightedLoss", kept)
    words = small_runs.overrides(model, data, tmp_path / "run", "trainer.num_train_epochs=1")
    run = pipeline.run(small_runs.composed([*words, "task.class_weights=balanced"]))
    np.testing.assert_allclose(seen, [[2, 2 / 3]])
    pipeline.run(small_runs.composed([*words, "output_dir=" + str(tmp_path / "plain")]))
    assert len(seen) == 1
    assert json.loads((run / "metrics.json").read_text())["baseline"]["answer"] == "acceptable"


def test_a_number_has_no_classes_to_weigh() -> None:
    with pytest.raises(GoftError, match=r"task\.class_weights=balanced.*none.*a number"):
        small_runs.composed(["task=glue/stsb", "task.class_weights=balanced"])
