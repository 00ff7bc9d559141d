"""One layer has the same effective weight in the forward pass and when merged."""

from __future__ import annotations

import copy
import math
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from goft_cli import GoftLayer
from goft_cli.rotation import angles_from, rotate

if TYPE_CHECKING:
    from conftest import Wrap


def rows(layer: nn.Module) -> Tensor:
    """Return the weight as (out, in)."""
    weight = layer.get_parameter("weight").detach()
    return weight.T if isinstance(layer, Conv1D) else weight


def effective(layer: GoftLayer, names: tuple[str, ...]) -> Tensor:
    """Return W S1 R1^T S2 R2^T ... (out, in) by dense products, float64."""
    weight = rows(layer.get_base_layer()).double()
    for name in names:
        parameter = layer.goft_rotation[name].detach().double()
        if parameter.dim() == 1:
            parameter = angles_from(parameter, layer.goft_angle[name])
        if name in layer.goft_scale:
            weight = weight @ layer.goft_scale[name].detach().double().diag()
        transposed = rotate(torch.eye(len(parameter) + 1, dtype=torch.float64), parameter)
        weight = weight @ transposed
    return weight


def rounding(layer: GoftLayer, dtype: torch.dtype, adapters: int) -> float:
    """Return the rounding bound relative to |W| |x|: each adapter's stages, then a row's sum."""
    steps = adapters * (math.ceil(math.log2(layer.in_features)) + 1) + layer.in_features
    return 3 * math.sqrt(steps) * torch.finfo(dtype).eps


@pytest.mark.parametrize("names", [("a",), ("c", "a", "b")])
def test_forward_is_the_product_with_the_effective_weight(
    wrap: Wrap, base_layer: nn.Module, variant: dict[str, Any], names: tuple[str, ...]
) -> None:
    layer = wrap(base_layer.double(), names, **variant)
    x = torch.randn(4, 3, 12, dtype=torch.float64)
    expected = x @ effective(layer, names).T + base_layer.get_parameter("bias")
    bound = rounding(layer, torch.float64, len(names)) * rows(base_layer).norm()
    assert ((layer(x) - expected).norm(dim=-1) <= bound * x.norm(dim=-1)).all()


@pytest.mark.parametrize(
    ("dtype", "adapter_dtype"),
    [
        (torch.float32, torch.bfloat16),
        (torch.bfloat16, torch.float32),
        (torch.float16, torch.float32),
        (torch.float16, torch.bfloat16),
    ],
)
def test_output_has_the_dtype_of_the_base_layer_alone(
    wrap: Wrap,
    base_layer: nn.Module,
    variant: dict[str, Any],
    dtype: torch.dtype,
    adapter_dtype: torch.dtype,
) -> None:
    layer = wrap(base_layer.to(dtype), **variant)
    layer.goft_rotation.to(adapter_dtype)
    layer.goft_scale.to(adapter_dtype)
    x = torch.randn(3, 12, dtype=dtype)
    output = layer(x)
    assert output.dtype == dtype
    expected = x.double() @ effective(layer, ("default",)).T + base_layer.get_parameter("bias")
    size = rows(base_layer).double().norm() * x.double().norm(dim=-1) + 1
    assert ((output - expected).norm(dim=-1) <= rounding(layer, dtype, 1) * size).all()


def test_autocast_gives_what_a_cast_by_hand_gives(
    wrap: Wrap, base_layer: nn.Module, variant: dict[str, Any]
) -> None:
    layer, x = wrap(base_layer, **variant), torch.randn(200, 12)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        automatic = layer(x)
    by_hand = wrap(copy.deepcopy(base_layer).to(torch.bfloat16), **variant)
    for mine, theirs in (
        (by_hand.goft_rotation, layer.goft_rotation),
        (by_hand.goft_scale, layer.goft_scale),
    ):
        mine.load_state_dict(theirs.state_dict(), assign=True)
    assert automatic.dtype == torch.bfloat16
    assert torch.equal(automatic, by_hand(x.to(torch.bfloat16)))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_merge_stores_the_effective_weight_rounded_once(
    wrap: Wrap, base_layer: nn.Module, variant: dict[str, Any], dtype: torch.dtype
) -> None:
    names = ("a", "b")
    layer = wrap(base_layer.to(dtype), names, **variant)
    expected = effective(layer, names)
    layer.merge(safe_merge=True)
    found = rows(layer.get_base_layer())
    assert found.dtype == dtype
    working = rounding(layer, torch.promote_types(dtype, torch.float32), len(names))
    # Rounding to nearest costs half a unit in the last place, that is eps / 2 per entry.
    bound = working + torch.finfo(dtype).eps / 2
    assert (found.double() - expected).norm() <= bound * expected.norm()


def test_unmerge_gives_the_weight_back_bit_by_bit(
    wrap: Wrap, base_layer: nn.Module, variant: dict[str, Any]
) -> None:
    layer = wrap(base_layer, ("a", "b"), **variant)
    before, x = base_layer.get_parameter("weight").detach().clone(), torch.randn(3, 12)
    output = layer(x)
    layer.merge()
    assert layer.merged_adapters == ["a", "b"]
    assert not torch.equal(base_layer.get_parameter("weight"), before)
    layer.unmerge()
    assert torch.equal(base_layer.get_parameter("weight"), before)
    assert torch.equal(layer(x), output)
    assert not layer.merged


def test_singular_adapters_can_be_merged_and_unmerged(wrap: Wrap, base_layer: nn.Module) -> None:
    layer = wrap(base_layer, method="qgoft", scale=True)
    with torch.no_grad():
        layer.goft_scale["default"].zero_()
        layer.goft_rotation["default"].zero_()
    before = base_layer.get_parameter("weight").detach().clone()
    layer.merge(safe_merge=True)
    assert not base_layer.get_parameter("weight").any()
    layer.unmerge()
    assert torch.equal(base_layer.get_parameter("weight"), before)


def test_merging_one_after_the_other_equals_merging_together(
    wrap: Wrap, base_layer: nn.Module, variant: dict[str, Any]
) -> None:
    layer = wrap(base_layer.double(), ("a", "b"), **variant)
    expected = effective(layer, ("a", "b"))
    layer.merge(adapter_names=["a"])
    with pytest.warns(UserWarning, match="You are now additionally merging b"):
        layer.merge(adapter_names=["b"])
    bound = rounding(layer, torch.float64, 2)
    assert (rows(base_layer) - expected).norm() <= bound * expected.norm()


def test_delta_weight_is_what_merging_adds(
    wrap: Wrap, base_layer: nn.Module, variant: dict[str, Any]
) -> None:
    layer = wrap(base_layer, **variant)
    before = base_layer.get_parameter("weight").detach().clone()
    delta = layer.get_delta_weight("default")
    layer.merge()
    assert torch.equal(delta, base_layer.get_parameter("weight") - before)


def test_safe_merge_refuses_a_broken_adapter_and_changes_nothing(
    wrap: Wrap, base_layer: nn.Module
) -> None:
    layer = wrap(base_layer)
    with torch.no_grad():
        layer.goft_rotation["default"][3] = float("nan")
    before = base_layer.get_parameter("weight").detach().clone()
    with pytest.raises(ValueError, match=r"NaNs.*default"):
        layer.merge(safe_merge=True)
    assert torch.equal(base_layer.get_parameter("weight"), before)
    assert not layer.merged


def test_unmerging_twice_warns(wrap: Wrap) -> None:
    with pytest.warns(UserWarning, match="Already unmerged"):
        wrap(nn.Linear(3, 3)).unmerge()


def test_merging_leaves_a_tied_weight_elsewhere_alone(wrap: Wrap) -> None:
    embedding, head = nn.Embedding(9, 6), nn.Linear(6, 9, bias=False)
    head.weight = embedding.weight
    before = embedding.weight.detach().clone()
    layer = wrap(head)
    layer.merge()
    assert torch.equal(embedding.weight, before)
    layer.unmerge()
    assert head.weight is embedding.weight


def test_a_cast_between_merge_and_unmerge_casts_the_original_too(wrap: Wrap) -> None:
    base = nn.Linear(6, 4)
    before, layer = base.weight.detach().clone(), wrap(base)
    layer.merge()
    layer.to(torch.bfloat16)
    layer.unmerge()
    assert torch.equal(base.weight, before.to(torch.bfloat16))
