"""The gradients contain the penalty once, with any accumulation and also on two ranks."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from goft_cli.system.errors import GoftError
from goft_cli.tuner.penalty import total_penalty
from tests.support import short_training as training
from tests.support.gloo_processes import as_ranks

# Plain SGD: each update adds the rounding error of gradients that are summed in another order.
TOLERANCE = 64 * training.STEPS * torch.finfo(torch.float32).eps


def blocks(model: torch.nn.Module) -> list[Tensor]:
    return [value for name, value in model.named_parameters() if "goft_rotation" in name]


def expected_penalty(model: torch.nn.Module) -> Tensor:
    """Return the paper's penalty: the weight times the sum of (a1 b1 + a2 b2)^2 over all blocks."""
    terms = [
        ((p[:, 0, 0] * p[:, 0, 1] + p[:, 1, 0] * p[:, 1, 1]) ** 2).sum() for p in blocks(model)
    ]
    return training.PENALTY_WEIGHT * torch.stack(terms).sum()


def batch_of(count: int) -> dict[str, Tensor]:
    rows = training.rows()[:count]
    return {key: torch.tensor(value) for key, value in rows.items()}


@pytest.mark.slow
@pytest.mark.parametrize("method", [*training.SHARED, "adalora"])
def test_accumulation_leads_to_the_same_weights(method: str) -> None:
    whole = training.trained_weights(method, batch=training.GLOBAL_BATCH)
    for accumulate in (2, 4):
        batch = training.GLOBAL_BATCH // accumulate
        parts = training.trained_weights(method, batch=batch, accumulate=accumulate)
        for name, tensor in whole.items():
            torch.testing.assert_close(parts[name], tensor, rtol=TOLERANCE, atol=TOLERANCE)


@pytest.fixture(scope="module")
def of_two_ranks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Tensor]:
    """Return the weights that two processes train, once for all the tests."""
    output = tmp_path_factory.mktemp("ranks") / "weights.safetensors"
    as_ranks(lambda: training.train_as_rank(output))
    return load_file(output)


@pytest.mark.slow
@pytest.mark.feature("DDP")
@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("method", training.SHARED)
def test_two_ranks_lead_to_the_same_weights(
    method: str, accumulate: int, of_two_ranks: dict[str, Tensor]
) -> None:
    alone = training.trained_weights(method, batch=training.GLOBAL_BATCH)
    for name, tensor in alone.items():
        found = of_two_ranks[f"{method}/{accumulate}/{name}"]
        torch.testing.assert_close(found, tensor, rtol=TOLERANCE, atol=TOLERANCE)


def test_penalty_is_the_papers_sum() -> None:
    model = training.adapted("qgoft").train()
    model(input_ids=batch_of(4)["input_ids"])
    found = total_penalty(model)
    assert found is not None
    torch.testing.assert_close(found, expected_penalty(model))


def test_a_layer_skipped_in_this_pass_does_not_count_again() -> None:
    model = training.adapted("qgoft")
    one = training.trainer(model, batch=8, max_steps=2)
    one.train()
    last = model.get_submodule("base_model.model.bert.encoder.layer.1")
    last.forward = lambda hidden, *_, **__: hidden  # as layer dropout does
    one.compute_loss(model.train(), batch_of(4))
    first = model.get_submodule("base_model.model.bert.encoder.layer.0")
    torch.testing.assert_close(total_penalty(model), expected_penalty(first))


def test_strict_rotations_and_other_adapters_have_no_penalty() -> None:
    for method in ("goft", "lora"):
        model = training.adapted(method).train()
        model(**batch_of(4))
        assert total_penalty(model) is None


def test_one_update_follows_task_and_penalty_gradients() -> None:
    model, twin = training.adapted("qgoft"), training.adapted("qgoft")
    for mine, other in zip(blocks(model), blocks(twin), strict=True):
        other.data.copy_(mine.data)
    one = training.trainer(model, batch=8, max_steps=1, train_sampling_strategy="sequential")
    one.train()
    (twin.eval()(**batch_of(8)).loss + expected_penalty(twin)).backward()
    for mine, other in zip(blocks(model), blocks(twin), strict=True):
        assert other.grad is not None
        expected = other.data - 0.05 * other.grad
        torch.testing.assert_close(mine.data, expected, rtol=TOLERANCE, atol=TOLERANCE)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_logged_loss_is_the_task_loss_and_the_penalty_stands_beside_it(accumulate: int) -> None:
    model = training.adapted("qgoft").eval()
    task_loss = model(**batch_of(8)).loss.item()
    penalty = expected_penalty(model).item()
    trainer = training.trainer(
        model,
        batch=8 // accumulate,
        accumulate=accumulate,
        max_steps=1,
        train_sampling_strategy="sequential",
    )
    trainer.train()
    first = trainer.state.log_history[0]
    assert first["loss"] == pytest.approx(task_loss, rel=1e-5)
    assert first["penalty"] == pytest.approx(penalty, rel=1e-5)
    assert training.evaluation_loss(trainer) < task_loss


def test_evaluation_loss_has_no_penalty() -> None:
    model = training.adapted("qgoft").eval()
    expected = model(**batch_of(8)).loss.item()
    measured = training.evaluation_loss(training.trainer(model, batch=8))
    assert measured == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("layer", "sentence"),
    [(-1, "the loss became nan at step 1"), (0, "a gradient is not finite at step 1")],
)
def test_divergence_stops_before_the_weights_are_spoilt(layer: int, sentence: str) -> None:
    model = training.adapted("goft")
    blocks(model)[layer].data[0] = float("nan")
    before = [block.clone() for block in blocks(model)]
    with pytest.raises(GoftError, match=f"{sentence}; .*learning_rate"):
        training.trainer(model, batch=8).train()
    for block, old in zip(blocks(model), before, strict=True):
        torch.testing.assert_close(block, old, rtol=0, atol=0, equal_nan=True)
