"""`add_weighted_adapter` adds angles, which is the product only of rotations that commute."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from peft import PeftModel
from torch import Tensor, nn

from goft_cli import GoftConfig, GoftLayer
from tests.support.adapters_side_by_side import add, alone, dense, layer_of, several

if TYPE_CHECKING:
    from conftest import Attach, Equal, Family

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
    for name in ("a", "b"):  # the pairs of the first stage are disjoint, so they commute
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
