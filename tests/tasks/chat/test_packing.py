"""Packed chats do not attend to one another, fill their rows well, and give the unpacked loss."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch
from datasets import Dataset
from hypothesis import given
from hypothesis import strategies as st
from transformers import PreTrainedModel

from goft_cli.system.errors import GoftError
from goft_cli.tasks.chat import Chat
from goft_cli.tasks.chat.packing import best_fit, pack
from goft_cli.tasks.instruction import PadRight, example_losses, keeps_apart
from tests.support.decoders import logits_of, random_llama, random_rows
from tests.tasks.instruction.test_packing import TOLERANCE, bloom, opt

Maker = Callable[..., Chat]
LENGTHS = [(3, 5), (1, 1), (6, 2), (2, 9), (4, 4), (1, 3)]
EPS = torch.finfo(torch.float32).eps


@given(st.lists(st.integers(1, 20), min_size=1, max_size=40))
def test_each_size_is_in_one_bin_and_none_overflows(sizes: list[int]) -> None:
    bins = best_fit(sizes, 20)
    assert sorted(place for places in bins for place in places) == list(range(len(sizes)))
    loads = [sum(sizes[place] for place in places) for places in bins]
    assert max(loads) <= 20
    # no two bins fit into one: best fit would have put the second one's items into the first
    assert all(a + b > 20 for index, a in enumerate(loads) for b in loads[index + 1 :])


def test_the_largest_come_first_and_where_the_least_room_is_left() -> None:
    assert best_fit([4, 7, 3, 6, 2, 8], 10) == [[4, 5], [1, 2], [0, 3]]


def packed(capacity: int) -> Dataset:
    return pack(Dataset.from_list(random_rows(LENGTHS)), capacity)


def test_a_row_has_whole_examples_whose_positions_start_anew() -> None:
    rows = packed(12)
    assert rows.column_names == ["input_ids", "labels", "position_ids"]
    alone = {tuple(row["input_ids"]): row["labels"] for row in random_rows(LENGTHS)}
    found = {}
    for row in rows.to_list():
        ids, positions = row["input_ids"], row["position_ids"]
        assert len(ids) <= 12
        starts = [place for place, position in enumerate(positions) if position == 0]
        for start, end in zip(starts, [*starts[1:], len(ids)], strict=True):
            assert positions[start:end] == list(range(end - start))
            found[tuple(ids[start:end])] = row["labels"][start:end]
    assert found == alone


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_a_packed_example_has_the_logits_it_has_alone(attention: str) -> None:
    model, batch = random_llama(attention), PadRight(0)(packed(12).to_list())
    assert set(batch) == {"input_ids", "labels", "position_ids"}
    with torch.no_grad():
        logits = model(**batch, use_cache=False).logits
    alone = {tuple(row["input_ids"]): row for row in random_rows(LENGTHS)}
    seen = 0
    for row, ids, positions in zip(logits, batch["input_ids"], batch["position_ids"], strict=True):
        starts = [*(positions == 0).nonzero().flatten().tolist(), len(ids)]
        for start, end in pairwise(starts):
            example = alone.get(tuple(ids[start:end].tolist()))
            if example is not None:
                seen += 1
                expected = logits_of(model, example)
                torch.testing.assert_close(row[start:end], expected, rtol=TOLERANCE, atol=TOLERANCE)
    assert seen == len(LENGTHS)


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_the_loss_is_that_of_the_rows_unpacked(attention: str) -> None:
    model = random_llama(attention)
    with torch.no_grad():
        loose = PadRight(0)(random_rows(LENGTHS))
        alone = model(**loose)
        tight = model(**PadRight(0)(packed(12).to_list()), use_cache=False)
    losses, tokens = example_losses(alone.logits, loose["labels"]).sum(dim=0)
    torch.testing.assert_close(tight.loss, alone.loss, rtol=100 * EPS, atol=0)
    torch.testing.assert_close(tight.loss, losses / tokens, rtol=100 * EPS, atol=0)


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_llama_may_be_packed_for(attention: str, make_chat: Maker) -> None:
    make_chat(packing=True).check_model(random_llama(attention))


@pytest.mark.parametrize("make", [opt, bloom])
def test_a_model_that_would_mix_chats_is_not_packed_for(
    make: Callable[[], PreTrainedModel], make_chat: Maker
) -> None:
    with pytest.raises(GoftError, match=r"packing=true: .* lets packed examples attend to"):
        make_chat(packing=True).check_model(make())


def test_several_rows_are_tried_and_not_one_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ignore the positions of a batch of several rows, as flash attention does."""
    model = random_llama()
    forward = model.model.forward

    def forgetful(*args: Any, **options: Any) -> Any:  # noqa: ANN401 - as there
        if len(options["position_ids"]) > 1:
            options["position_ids"] = None
        return forward(*args, **options)

    monkeypatch.setattr(model.model, "forward", forgetful)
    assert keeps_apart(model)
    assert not keeps_apart(model, rows=2)


def test_only_the_training_rows_are_packed(make_chat: Maker) -> None:
    inputs = Dataset.from_list(random_rows(LENGTHS))
    assert make_chat(packing=False).training_inputs(inputs) is inputs
    found = make_chat(packing=True, max_length=12).training_inputs(inputs)
    assert isinstance(found, Dataset)
    assert len(found) < len(inputs)
