"""The loss of each example agrees with the model's own, padded or packed."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.nn.utils.rnn import pad_sequence
from transformers import DataCollatorWithFlattening

from goft_cli.tasks.instruction import PadRight, example_losses
from tests.support.decoders import VOCABULARY, Row, random_llama, random_rows

EPS = torch.finfo(torch.float32).eps
LENGTHS = st.lists(st.tuples(st.integers(1, 6), st.integers(1, 6)), min_size=1, max_size=6)


def by_hand(logits: Tensor, row: Row) -> tuple[float, int]:
    """Sum one example's loss in float64; the logits at i predict the token at i + 1."""
    labels = torch.tensor(row["labels"])[1:]
    losses = cross_entropy(logits[:-1].double(), labels, reduction="none", ignore_index=-100)
    return losses.sum().item(), int((labels != -100).sum())


@settings(deadline=None)
@given(LENGTHS)
def test_each_example_has_its_own_sum(lengths: list[tuple[int, int]]) -> None:
    rows = random_rows(lengths)
    packed = torch.randn(1, sum(map(sum, lengths)), VOCABULARY)
    pieces = packed[0].split([sum(pair) for pair in lengths])
    padded = pad_sequence(list(pieces), batch_first=True)
    expected = [by_hand(piece, row) for piece, row in zip(pieces, rows, strict=True)]
    for logits, collate in ((padded, PadRight(0)), (packed, DataCollatorWithFlattening())):
        labels = torch.as_tensor(collate(rows)["labels"])
        found = example_losses(logits, labels)
        assert found.dtype is torch.float32
        assert found[:, 1].tolist() == [tokens for _, tokens in expected]
        sums = torch.tensor([total for total, _ in expected])
        torch.testing.assert_close(found[:, 0], sums, rtol=64 * EPS, atol=64 * EPS)


def test_the_token_mean_is_the_models_own_loss() -> None:
    model, rows = random_llama(), random_rows([(3, 9), (5, 1), (1, 2)])
    batch = PadRight(0)(rows)
    with torch.no_grad():
        output = model(**batch)
    losses, tokens = example_losses(output.logits, batch["labels"]).sum(dim=0)
    assert tokens == 12
    torch.testing.assert_close(losses / tokens, output.loss, rtol=16 * EPS, atol=0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_summed_in_single(dtype: torch.dtype) -> None:
    (row,) = random_rows([(2, 500)])
    logits = torch.randn(1, 502, VOCABULARY).to(dtype)
    ((total, tokens),) = example_losses(logits, torch.tensor([row["labels"]])).tolist()
    expected, count = by_hand(logits[0], row)
    assert tokens == count
    assert total == pytest.approx(expected, rel=500 * EPS)
