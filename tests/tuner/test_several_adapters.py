"""Several adapters on one model: a batch in which each row has its own, and sums of angles."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest
import torch
import transformers as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from peft import PeftModel
from torch import Tensor, nn

from goft_cli import GoftConfig, GoftLayer

if TYPE_CHECKING:
    from conftest import Attach, Equal, Family

BASE = "__base__"
KINDS: dict[str, dict[str, Any]] = {
    "default": {},
    "direct": {"angle": "direct", "scale": True},
    "quasi": {"method": "qgoft", "scale": True},
}
"""Adapters of different methods and settings, on one model."""
NAMES = [*KINDS, "narrow", BASE]
INTERLEAVED = [NAMES[row % 5] for row in (4, 0, 1, 2, 3, 1, 0, 4, 2, 3)]


def several(family: Family, attach: Attach, *, heads: bool = True) -> PeftModel:
    """The family's model in float64 with all of NAMES; "narrow" has fewer layers and no head."""
    whole = [family.head] if heads else None
    model = attach(family.build().double(), family.targets, modules_to_save=whole)
    for name, options in list(KINDS.items())[1:]:
        add(model, name, target_modules=family.targets, modules_to_save=whole, **options)
    add(model, "narrow", target_modules=family.targets[:1])
    for name, parameter in model.named_parameters():
        if "modules_to_save" in name:
            parameter.data += torch.randn_like(parameter)
    return model.double().eval()


def add(model: PeftModel, name: str, **options: Any) -> None:  # noqa: ANN401 - GoftConfig's
    model.add_adapter(name, GoftConfig(init_weights=False, **options))


def alone(model: PeftModel, name: str, **inputs: Tensor) -> Tensor:
    """The output of rows that all have one adapter."""
    with torch.no_grad():
        if name == BASE:
            with model.disable_adapter():
                return model(**inputs).logits
        model.set_adapter(name)
        found = model(**inputs).logits
        model.set_adapter("default")
        return found


def many_rows(family: Family) -> dict[str, Tensor]:
    """One row for each of INTERLEAVED, all of them different."""
    (key, value), *_ = family.inputs.items()
    value = torch.cat([value.roll(shift, -1) for shift in range(5)])
    return {key: value.double() if value.is_floating_point() else value}


def dense(layer: GoftLayer, name: str) -> Tensor:
    """The map of one adapter, diag(scale) R^T (in, in), by the definition in float64."""
    eye = torch.eye(layer.in_features, dtype=torch.float64)
    matrix, rotation = eye.clone(), layer.rotation(name).detach().double()
    stride, taken = 1, 0
    while stride < layer.in_features:
        stage = eye.clone()
        for first in range(0, layer.in_features - stride, 2 * stride):
            block = rotation[taken]
            if rotation.dim() == 1:
                cos, sin = block.cos(), block.sin()
                block = torch.stack((cos, -sin, sin, cos)).view(2, 2)
            places = torch.tensor([first, first + stride])
            stage[places[:, None], places] = block
            taken += 1
        matrix, stride = stage @ matrix, 2 * stride
    scale = layer.scale(name)
    return matrix.T if scale is None else scale.detach().double()[:, None] * matrix.T


def layer_of(width: int, names: dict[str, dict[str, Any]]) -> GoftLayer:
    """A layer of random adapters in float64."""
    layer = GoftLayer(nn.Linear(width, 3).double(), "first", GoftConfig())
    for name, options in names.items():
        layer.update_layer(name, GoftConfig(init_weights=False, **options))
    return layer.double().eval()


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
        return  # which is refused: see below
    x = torch.randn(len(names), *positions, width, dtype=torch.float64)
    base = layer.get_base_layer()
    maps = {name: dense(layer, name) for name in KINDS}
    eye = torch.eye(width, dtype=torch.float64)
    expected = torch.stack(
        [base(row @ maps.get(n, eye).T) for n, row in zip(names, x, strict=True)]
    )
    found = layer(x, adapter_names=names)
    # a rotation's stages, and sums over the width; the blocks of qGOFT's start enlarge by little
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
        config = tf.T5Config(
            d_model=16,
            d_kv=8,
            d_ff=16,
            num_layers=1,
            num_heads=2,
            decoder_start_token_id=0,
            **shape,
        )
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
    with model.disable_adapter():  # as with LoRA, names say nothing then
        found = model(**inputs, adapter_names=INTERLEAVED).logits
    assert torch.equal(found, alone(model, BASE, **inputs))
    cast(Any, model).merge_adapter(["direct"])
    with pytest.raises(ValueError, match="when there are merged adapters"):
        model(**inputs, adapter_names=INTERLEAVED)


def test_a_layer_whose_input_is_not_the_batch_is_refused(attach: Attach) -> None:
    shape: dict[str, Any] = {"hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 16}
    shape |= {"relative_attention": True, "pos_att_type": ["c2p", "p2c"], "share_att_key": True}
    config = tf.DebertaV2Config(vocab_size=40, num_hidden_layers=1, **shape)
    # all its positions go through the projection of the queries, as a batch of one row
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


WEIGHTS = st.floats(-3, 3).map(lambda number: round(number, 2))


@settings(max_examples=30)
@given(width=st.integers(2, 33), weights=st.tuples(WEIGHTS, WEIGHTS))
def test_a_weighted_adapter_turns_by_the_sum_of_the_angles(
    width: int, weights: tuple[float, float]
) -> None:
    torch.manual_seed(width)
    model = PeftModel(
        cast(Any, nn.Sequential(nn.Linear(width, 2))),
        GoftConfig(target_modules=["0"], init_weights=False),
        "a",
    ).double()
    add(model, "b", target_modules=["0"], angle="direct", scale=True)
    model = model.double()
    cast(Any, model).add_weighted_adapter(["a", "b"], list(weights), "sum", "angles")
    layer = cast(GoftLayer, cast(Any, model.base_model.model)[0])
    a, b = weights
    tilted = layer.goft_rotation["a"].double().tanh() * math.pi
    expected = a * tilted + b * layer.goft_rotation["b"].double()
    found = layer.goft_rotation["sum"]
    eps = torch.finfo(found.dtype).eps
    assert ((found - expected).abs() <= 4 * eps * (1 + expected.abs())).all()
    scale = layer.goft_scale["b"].double() ** b
    assert ((layer.goft_scale["sum"] - scale).abs() <= 4 * eps * scale).all()
    settings = cast(GoftConfig, model.peft_config["sum"])
    assert (settings.angle, settings.scale) == ("direct", True)
    assert not layer.goft_rotation["sum"].requires_grad


def test_it_is_the_product_only_where_the_rotations_commute() -> None:
    layer = layer_of(9, {"a": {}, "b": {}, "sum": {"angle": "direct"}})

    def difference() -> Tensor:
        layer.goft_rotation["sum"].data = (layer.rotation("a") + layer.rotation("b")).detach()
        return (dense(layer, "sum") - dense(layer, "b") @ dense(layer, "a")).norm()

    assert difference() > 1e-3
    for name in ("a", "b"):  # all pairs of the first stage lie in planes of their own
        layer.goft_rotation[name].data[4:] = 0
    assert difference() < 1e-14


def test_a_weighted_adapter_is_saved_loaded_and_merged(
    encoder: Family, attach: Attach, tmp_path: Path, assert_equal_by_algebra: Equal
) -> None:
    model = attach(encoder.build().double(), encoder.targets, modules_to_save=[encoder.head])
    add(model, "narrow", target_modules=encoder.targets[:1], layers_to_transform=[1])
    model = model.double()
    plain = cast(nn.Module, model.base_model.model)
    head = cast(Any, plain.get_submodule(encoder.head)).modules_to_save
    head["default"].weight.data += 1
    cast(Any, model).add_weighted_adapter(["default", "narrow"], [1.5, -1], "sum")
    inputs = encoder.inputs
    expected = alone(model, "sum", **inputs)
    assert torch.equal(head["sum"].weight, head["default"].weight)
    model.save_pretrained(str(tmp_path), selected_adapters=["sum"])
    base = encoder.build().double()
    state = {
        name.replace(".base_layer", "").replace(".original_module", ""): value
        for name, value in plain.state_dict().items()
        if "goft_" not in name and "modules_to_save" not in name
    }
    base.load_state_dict(state)
    loaded = PeftModel.from_pretrained(base, tmp_path / "sum", autocast_adapter_dtype=False)
    assert_equal_by_algebra(alone(cast(PeftModel, loaded.double()), "default", **inputs), expected)
    merged = cast(Any, loaded).merge_and_unload()
    with torch.no_grad():
        assert_equal_by_algebra(merged(**inputs).logits, expected)


@pytest.mark.parametrize(
    ("names", "weights", "kind", "message"),
    [
        (["default"], [1.0], "svd", "Invalid combination_type: svd"),
        (["default", "gone"], [1.0, 1.0], "angles", "Adapter gone does not exist"),
        (["default"], [1.0, 2.0], "angles", "one weight for each"),
        (["default", "default"], [1.0, 2.0], "angles", "each named once"),
        (["default"], [math.inf], "angles", "finite"),
        (["default", "quasi"], [1.0, 1.0], "angles", "'quasi'.*no sum"),
        (["default", "direct"], [1.0, 1.0], "angles", "modules_to_save"),
        (["negative"], [0.5], "angles", "layer .*query.*not positive"),
    ],
)
def test_sums_that_are_refused_leave_the_model_alone(
    encoder: Family,
    attach: Attach,
    names: list[str],
    weights: list[float],
    kind: str,
    message: str,
) -> None:
    model = several(encoder, attach)
    add(model, "negative", target_modules=encoder.targets, scale=True)
    for name, parameter in model.named_parameters():
        if "goft_scale.negative" in name:
            parameter.data.neg_()
    before = [name for name, _ in model.named_parameters()]
    with pytest.raises(ValueError, match=message):
        cast(Any, model).add_weighted_adapter(names, weights, "sum", kind)
    assert [name for name, _ in model.named_parameters()] == before
    assert "sum" not in model.peft_config


def test_a_name_that_is_taken_is_refused(encoder: Family, attach: Attach) -> None:
    model = several(encoder, attach)
    with pytest.raises(ValueError, match="exists already"):
        cast(Any, model).add_weighted_adapter(["default"], [1.0], "narrow")
