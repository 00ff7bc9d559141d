"""A batch in which each row names its own adapter gives the outputs of its rows alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import pytest
import torch
import transformers as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from goft_cli.tuner import set_strength
from tests.support.adapters_side_by_side import (
    BASE,
    INTERLEAVED,
    KINDS,
    NAMES,
    add,
    alone,
    dense,
    layer_of,
    many_rows,
    several,
)

if TYPE_CHECKING:
    from conftest import Attach, Equal, Family


@settings(max_examples=40)
@given(
    width=st.integers(1, 20),
    names=st.lists(st.sampled_from([*KINDS, BASE, "elsewhere"]), min_size=1, max_size=9),
    positions=st.sampled_from([(), (1,), (2,), (11,)]),
)
def test_each_row_meets_its_own_map(
    width: int, names: list[str], positions: tuple[int, ...]
) -> None:
    layer = layer_of(width, KINDS)
    if positions and positions[0] == len(names):
        return  # refused: test_rows_and_positions_are_told_apart
    x = torch.randn(len(names), *positions, width, dtype=torch.float64)
    base = layer.get_base_layer()
    maps = {name: dense(layer, name) for name in KINDS}
    eye = torch.eye(width, dtype=torch.float64)
    expected = torch.stack(
        [base(row @ maps.get(n, eye).T) for n, row in zip(names, x, strict=True)]
    )
    found = layer(x, adapter_names=names)
    # rounding of a rotation's stages and of sums over the width; qGOFT's blocks enlarge it little
    bound = 20 * (width + 6) * torch.finfo(torch.float64).eps * (1 + x.norm())
    assert (found - expected).abs().max() <= bound


def test_a_mixed_batch_is_its_rows_alone(
    family: Family, attach: Attach, assert_equal_by_algebra: Equal
) -> None:
    model, inputs = several(family, attach), many_rows(family)
    with torch.no_grad():
        found = model(**inputs, adapter_names=INTERLEAVED).logits
    for name in NAMES:
        rows = [row for row, own in enumerate(INTERLEAVED) if own == name]
        some = {key: value[rows] for key, value in inputs.items()}
        assert_equal_by_algebra(found[rows], alone(model, name, **some))
    assert not torch.allclose(found, alone(model, "direct", **inputs))


def test_after_a_mixed_batch_the_active_adapter_runs_again(encoder: Family, attach: Attach) -> None:
    model, inputs = several(encoder, attach), many_rows(encoder)
    before = alone(model, "default", **inputs)
    model(**inputs, adapter_names=INTERLEAVED)
    with pytest.raises(ValueError, match="Length of `adapter_names`"):
        model(**inputs, adapter_names=["direct"])
    assert torch.equal(alone(model, "default", **inputs), before)


def test_gradients_of_a_mixed_batch_reach_each_row_by_its_own_map(wrap: Any) -> None:  # noqa: ANN401
    layer = wrap(nn.Linear(6, 2).double(), ("a", "b")).double().eval()
    x = torch.randn(3, 6, dtype=torch.float64, requires_grad=True)
    torch.autograd.gradcheck(lambda one: layer(one, adapter_names=["b", "a", BASE]), (x,))


@pytest.mark.parametrize("beams", [1, 2])
@pytest.mark.parametrize("kind", ["decoder", "encoder-decoder"])
def test_generation_with_beams(kind: str, beams: int, attach: Attach) -> None:
    torch.manual_seed(0)
    shape: dict[str, Any] = {"vocab_size": 40, "pad_token_id": 0, "eos_token_id": None}
    if kind == "decoder":
        heads = {"num_attention_heads": 2, "hidden_size": 16, "intermediate_size": 16}
        config = tf.LlamaConfig(num_hidden_layers=1, **heads, **shape)
        plain, targets = tf.LlamaForCausalLM(config), ["q_proj", "down_proj"]
    else:
        shape |= {"d_model": 16, "d_kv": 8, "d_ff": 16, "decoder_start_token_id": 0}
        config = cast(Any, tf.T5Config)(num_layers=1, num_heads=2, **shape)
        plain, targets = tf.T5ForConditionalGeneration(config), ["q", "wi"]
    model = attach(plain, targets)
    add(model, "other", target_modules=targets)
    for name, parameter in model.named_parameters():
        parameter.data *= 8 if "goft_" in name else 1
    model = model.double().eval()
    ids = torch.randint(1, 40, (4, 5))
    names = ["other", BASE, "default", "other"]
    options: dict[str, Any] = {"max_new_tokens": 4, "num_beams": beams, "do_sample": False}
    found = cast(Any, model).generate(input_ids=ids, adapter_names=names, **options)
    for row, name in enumerate(names):
        model.set_adapter("default" if name == BASE else name)
        one: dict[str, Any] = {"input_ids": ids[[row]], **options}
        if name == BASE:
            with model.disable_adapter():
                expected = cast(Any, model).generate(**one)
        else:
            expected = cast(Any, model).generate(**one)
        assert torch.equal(found[[row]], expected)


def test_what_a_mixed_batch_refuses(encoder: Family, attach: Attach) -> None:
    model, inputs = several(encoder, attach), many_rows(encoder)
    with pytest.raises(ValueError, match=r"non-existing adapter\(s\): wrong"):
        model(**inputs, adapter_names=["wrong", *INTERLEAVED[1:]])
    with pytest.raises(TypeError, match="expected a list of str"):
        model(**inputs, adapter_names="default")
    with pytest.raises(ValueError, match="in training mode"):
        model.train()(**inputs, adapter_names=INTERLEAVED)
    model.eval()
    with model.disable_adapter():  # as with LoRA, names are then ignored
        found = model(**inputs, adapter_names=INTERLEAVED).logits
    assert torch.equal(found, alone(model, BASE, **inputs))
    cast(Any, model).merge_adapter(["direct"])
    with pytest.raises(ValueError, match="when there are merged adapters"):
        model(**inputs, adapter_names=INTERLEAVED)


def test_a_layer_whose_input_is_not_the_batch_is_refused(attach: Attach) -> None:
    shape: dict[str, Any] = {"hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 16}
    shape |= {"relative_attention": True, "pos_att_type": ["c2p", "p2c"], "share_att_key": True}
    config = tf.DebertaV2Config(vocab_size=40, num_hidden_layers=1, **shape)
    # query_proj also projects the relative positions, as a batch of one row
    model = attach(tf.DebertaV2ForSequenceClassification(config), ["query_proj"])
    with pytest.raises(ValueError, match=r"Length of `adapter_names`.*got 2 and 1 "):
        model(input_ids=torch.ones(2, 7, dtype=torch.long), adapter_names=["default", BASE])


def test_rows_and_positions_are_told_apart() -> None:
    layer, square = layer_of(6, KINDS), torch.randn(3, 3, 6, dtype=torch.float64)
    names = ["default", BASE, "quasi"]
    with pytest.raises(ValueError, match="rows from positions"):
        layer(square, adapter_names=names)
    layer(torch.randn(3, 4, 6, dtype=torch.float64), adapter_names=names)
    assert layer(square, adapter_names=names).shape == (3, 3, 3)


def test_each_adapter_keeps_its_strength_in_a_mixed_batch(
    encoder: Family, attach: Attach, assert_equal_by_algebra: Equal
) -> None:
    model, inputs = several(encoder, attach), many_rows(encoder)
    for name, strength in {"default": 0.0, "direct": 0.5, "narrow": 1.25}.items():
        for parameter in (p for n, p in model.named_parameters() if f"goft_scale.{name}" in n):
            parameter.data.abs_()
        set_strength(model, strength, name)
    with torch.no_grad():
        found = model(**inputs, adapter_names=INTERLEAVED).logits
    for row, name in enumerate(INTERLEAVED):
        one = {key: value[[row]] for key, value in inputs.items()}
        assert_equal_by_algebra(found[[row]], alone(model, name, **one))
