"""Packed examples do not attend to one another, and have the logits that they have alone."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from transformers import (
    BloomConfig,
    BloomForCausalLM,
    DataCollatorWithFlattening,
    OPTConfig,
    OPTForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from goft_cli.system.errors import GoftError
from goft_cli.tasks.base import Collator
from goft_cli.tasks.instruction import Instruction, collator
from tests.support.decoders import Row, logits_of, random_llama, random_rows

Maker = Callable[..., Instruction]
PACK: Collator = DataCollatorWithFlattening()
ATTENTION = ["eager", "sdpa"]
LENGTHS = [(3, 5), (1, 1), (6, 2), (2, 9)]
# Two blocks of four linears and one attention each round once; a softmax over logits of about 10.
TOLERANCE = 1000 * torch.finfo(torch.float32).eps


def opt() -> PreTrainedModel:
    """Return a model that takes position ids, but ignores where they start again."""
    config = OPTConfig(
        vocab_size=50, hidden_size=16, ffn_dim=16, num_hidden_layers=1, num_attention_heads=2
    )
    config.init_std, config.word_embed_proj_dim = 0.3, 16
    return OPTForCausalLM(config).eval()


def bloom() -> PreTrainedModel:
    """Return a model that takes no position ids."""
    config = BloomConfig(vocab_size=50, hidden_size=16, n_layer=1, n_head=2, initializer_range=0.3)
    return BloomForCausalLM(config).eval()


def packed_logits(attention: str, batch: dict[str, Tensor], **more: Tensor) -> tuple[Tensor, ...]:
    """Run one packed batch, and return each example's part of the logits."""
    with torch.no_grad():
        logits = random_llama(attention)(**batch, **more, use_cache=False).logits[0]
    return logits.split([sum(pair) for pair in LENGTHS])


def test_a_batch_is_one_row_without_padding(words_tokenizer: PreTrainedTokenizerBase) -> None:
    batch = collator(words_tokenizer, packing=True)(random_rows(LENGTHS))
    assert set(batch) == {"input_ids", "labels", "position_ids"}
    assert {tuple(value.shape) for value in batch.values()} == {(1, 29)}
    assert batch["position_ids"][0, :10].tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 0, 1]


@pytest.mark.parametrize("attention", ATTENTION)
def test_a_packed_example_has_the_logits_it_has_alone(attention: str) -> None:
    rows, model = random_rows(LENGTHS), random_llama(attention)
    for row, found in zip(rows, packed_logits(attention, PACK(rows)), strict=True):
        torch.testing.assert_close(found, logits_of(model, row), rtol=TOLERANCE, atol=TOLERANCE)


@pytest.mark.parametrize("attention", ATTENTION)
def test_another_neighbour_does_not_matter(attention: str) -> None:
    rows = random_rows(LENGTHS)
    others = [random_rows(LENGTHS, seed=2)[0], *rows[1:]]
    before, after = (packed_logits(attention, PACK(some)) for some in (rows, others))
    assert not torch.equal(before[0], after[0])
    for old, new in zip(before[1:], after[1:], strict=True):
        assert torch.equal(old, new)


@pytest.mark.parametrize("attention", ATTENTION)
def test_an_attention_mask_would_let_them_see_one_another(attention: str) -> None:
    """Check that the comparison above detects examples that attend to one another."""
    rows = random_rows(LENGTHS)
    everything = torch.ones(1, 29, dtype=torch.long)
    found = packed_logits(attention, PACK(rows), attention_mask=everything)[-1]
    alone = logits_of(random_llama(attention), rows[-1])
    assert (found - alone).abs().max() > 100 * TOLERANCE


@pytest.mark.parametrize("attention", ATTENTION)
def test_llama_may_be_packed_for(attention: str, make_instruction: Maker) -> None:
    make_instruction(packing=True).check_model(random_llama(attention))


@pytest.mark.parametrize("make", [opt, bloom])
def test_a_model_that_would_mix_examples_is_not_packed_for(
    make: Callable[[], PreTrainedModel], make_instruction: Maker
) -> None:
    model = make()
    make_instruction(packing=False).check_model(model)
    sentence = rf"packing=true: {type(model).__name__} lets packed examples attend to one another"
    with pytest.raises(GoftError, match=sentence):
        make_instruction(packing=True).check_model(model)


def test_padding_is_on_the_right_and_hidden(words_tokenizer: PreTrainedTokenizerBase) -> None:
    rows: list[Row] = random_rows(LENGTHS)
    batch = collator(words_tokenizer, packing=False)(rows)
    assert words_tokenizer.pad_token_id is None
    assert batch["input_ids"][1].tolist() == [
        *rows[1]["input_ids"],
        *[words_tokenizer.eos_token_id] * 9,
    ]
    assert batch["attention_mask"].sum(dim=1).tolist() == [sum(pair) for pair in LENGTHS]
    assert batch["labels"][1].tolist() == [*rows[1]["labels"], *[-100] * 9]
    model = random_llama()
    with torch.no_grad():
        logits = model(**batch).logits
    for row, found in zip(rows, logits, strict=True):
        alone = logits_of(model, row)
        torch.testing.assert_close(found[: len(alone)], alone, rtol=TOLERANCE, atol=TOLERANCE)
