"""With `trainer.max_tokens_per_batch`, a batch in parts gives the gradient of the whole batch."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st
from peft.utils import get_peft_model_state_dict
from torch import Tensor

from goft_cli.training.by_length import parts_of, weight_of
from tests.support import short_training as training

WIDTH = 8


def batch_of(lengths: list[int]) -> dict[str, Tensor]:
    """Return rows of these lengths, padded on the right; each row and column has its own id."""
    places = torch.arange(WIDTH)
    mask = (places < torch.tensor(lengths)[:, None]).long()
    ids = (torch.arange(len(lengths))[:, None] * WIDTH + places + 1) * mask
    return {"input_ids": ids, "attention_mask": mask, "labels": torch.arange(len(lengths))}


@settings(max_examples=50, deadline=None)
@given(
    lengths=st.lists(st.integers(1, WIDTH), min_size=1, max_size=9),
    most=st.integers(1, 80),
)
def test_parts_have_every_row_and_token_once(lengths: list[int], most: int) -> None:
    batch = batch_of(lengths)
    parts = parts_of(batch, most)
    assert sorted(torch.cat([part["labels"] for part in parts]).tolist()) == [*range(len(lengths))]
    tokens = torch.cat([part["input_ids"].flatten() for part in parts])
    kept = batch["input_ids"].flatten()
    assert sorted(tokens[tokens > 0].tolist()) == sorted(kept[kept > 0].tolist())
    for part in parts:
        assert part["input_ids"].shape == part["attention_mask"].shape
        assert part["input_ids"].numel() <= most or len(part["labels"]) == 1
        assert part["attention_mask"][:, 0].all()
    if len(lengths) * WIDTH <= most:
        assert torch.equal(parts[0]["input_ids"], batch["input_ids"]), "and nothing is changed"


def test_padding_on_the_left_stays() -> None:
    batch = {name: one.flip(1) if one.dim() > 1 else one for name, one in batch_of([3, 5]).items()}
    for part in parts_of(batch, WIDTH):
        assert part["input_ids"].shape == (1, WIDTH)
        assert part["input_ids"][0, -1] > 0


def test_a_packed_batch_is_cut_by_rows() -> None:
    ids = torch.arange(1, 41).view(5, WIDTH)
    packed = {"input_ids": ids, "attention_mask": torch.ones(5, 1, WIDTH, WIDTH, dtype=torch.bool)}
    parts = parts_of({**packed, "labels": ids}, 2 * WIDTH)
    assert [len(part["attention_mask"]) for part in parts] == [2, 2, 1]
    assert torch.equal(torch.cat([part["input_ids"] for part in parts]), ids)


def test_as_many_targets_of_a_row_as_tokens_stay_whole() -> None:
    sets = torch.randint(0, 2, (3, WIDTH)).float()  # multi-label targets of WIDTH classes
    parts = parts_of({**batch_of([2, 5, 3]), "labels": sets}, WIDTH)
    assert torch.equal(torch.cat([part["labels"] for part in parts]), sets[[1, 2, 0]])
    assert [weight_of(part) for part in parts] == [1, 2]


@given(
    lengths=st.lists(st.integers(1, WIDTH), min_size=1, max_size=9),
    most=st.integers(1, 40),
    seed=st.integers(0, 9),
)
def test_the_mean_over_scored_tokens_is_the_weighted_mean_of_the_parts(
    lengths: list[int], most: int, seed: int
) -> None:
    batch = batch_of(lengths)
    drawn = torch.randint(0, 3, (len(lengths), WIDTH), generator=torch.manual_seed(seed)) - 1
    labels = drawn.masked_fill((drawn < 0) | (batch["attention_mask"] == 0), -100)
    parts = parts_of({**batch, "labels": labels}, most)
    shares = [weight_of(part) for part in parts]
    assert all(part["labels"].view(-1).numel() for part in parts)  # contiguous, as models need
    scored = labels[labels >= 0].double()
    if len(scored):
        means = [part["labels"][part["labels"] >= 0].double().mean() for part in parts]
        found = sum(share * mean for share, mean in zip(shares, means, strict=True)) / sum(shares)
        torch.testing.assert_close(torch.as_tensor(found), scored.mean())


def weights(method: str, most: int | None, smoothed: float) -> tuple[dict[str, Tensor], list[Any]]:
    """Train on rows of several lengths; return the adapter and what was logged."""
    model = training.adapted(method)
    one = training.trainer(model, batch=4, accumulate=2, label_smoothing_factor=smoothed)
    rows = training.rows()
    lengths = [1 + (7 * index) % WIDTH for index in range(len(rows))]
    mask = [[int(place < length) for place in range(WIDTH)] for length in lengths]
    one.train_dataset = Dataset.from_dict({**rows[:], "attention_mask": mask})
    one._most_tokens = most
    one.train()
    logged = [(row["loss"], row.get("penalty")) for row in one.state.log_history if "loss" in row]
    return {key: value.clone() for key, value in get_peft_model_state_dict(model).items()}, logged


@pytest.mark.parametrize(
    ("method", "smoothed"),
    [
        ("qgoft", 0.2),
        pytest.param("qgoft", 0.0, marks=pytest.mark.slow),
        pytest.param("adalora", 0.2, marks=pytest.mark.slow),
    ],
)
def test_weights_loss_and_penalty_are_those_of_whole_batches(method: str, smoothed: float) -> None:
    whole, logged = weights(method, None, smoothed)
    for most in (1, 12):
        parts, again = weights(method, most, smoothed)
        for name, tensor in whole.items():
            torch.testing.assert_close(parts[name], tensor, rtol=2e-4, atol=2e-6)
        for found, expected in zip(again, logged, strict=True):
            assert found == pytest.approx(expected, abs=2e-4)
