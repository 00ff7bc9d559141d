"""PEFT's methods at a strength equal their dense definition; those without one are refused."""

from __future__ import annotations

import copy
import math
import pickle
from collections.abc import Callable
from functools import cache
from typing import Any, cast

import peft
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from peft import PeftModel, get_peft_model
from torch import Tensor, nn

from goft_cli import GoftConfig, set_strength, strength_of
from goft_cli.config.choices import STRONGEST
from goft_cli.tuner.strength import keep_base

FRACTIONS = st.floats(0, STRONGEST)
WIDE = torch.float64
FEW = settings(max_examples=10)
pytestmark = [
    pytest.mark.filterwarnings("ignore:Failed to load the CUDA extension"),
    pytest.mark.filterwarnings("ignore:Setting boft_n_butterfly_factor"),
]


def layer_at(model: PeftModel, place: int) -> Any:  # noqa: ANN401 - one layer class a method
    return cast(Any, model).base_model.model[place]


def perceptron() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(12, 8), nn.Tanh(), nn.Linear(8, 3)).double()


TARGETS: dict[str, Any] = {"target_modules": ["0", "2"]}
SCHEDULE: dict[str, Any] = {"init_r": 4, "target_r": 2, "tinit": 1, "tfinal": 1, "total_step": 9}
PEFTS: dict[str, peft.PeftConfig] = {
    "lora": peft.LoraConfig(r=3, lora_alpha=5, init_lora_weights=False, **TARGETS),
    "rslora": peft.LoraConfig(
        r=3, lora_alpha=5, use_rslora=True, init_lora_weights=False, **TARGETS
    ),
    "adalora": peft.AdaLoraConfig(init_lora_weights=False, lora_alpha=7, **SCHEDULE, **TARGETS),
    "oft": peft.OFTConfig(
        oft_block_size=4, use_cayley_neumann=False, init_weights=False, **TARGETS
    ),
    "boft": peft.BOFTConfig(boft_block_size=4, init_weights=False, **TARGETS),
}


def adapted(config: peft.PeftConfig, model: nn.Module | None = None) -> PeftModel:
    whole = perceptron() if model is None else model
    torch.manual_seed(1)
    return get_peft_model(whole, copy.deepcopy(config)).eval()  # pyright: ignore[reportArgumentType]


def cayley(entries: Tensor, size: int, strength: float) -> Tensor:
    """Return block-diagonal (I - tK)(I + tK)^-1 from upper triangles of skew matrices K."""
    skew = torch.zeros(len(entries), size, size, dtype=WIDE)
    rows, columns = torch.triu_indices(size, size, 1)
    skew[:, rows, columns] = entries
    skew = strength * (skew - skew.mT)
    one = torch.eye(size, dtype=WIDE)
    return torch.block_diag(*((one - k) @ torch.linalg.inv(one + k) for k in skew))


def peft_weight(layer: Any, strength: float) -> Tensor:  # noqa: ANN401 - one layer class a method
    """Return the dense weight (out, in) at a strength from the trained parameters."""
    weight, kind = layer.get_base_layer().weight.detach(), type(layer).__module__.split(".")[2]
    if kind == "lora":
        a, b = (getattr(layer, f"lora_{one}")["default"].weight.detach() for one in "AB")
        scaling = 5 / (math.sqrt(3) if layer.use_rslora["default"] else 3)
        return weight + strength * scaling * b @ a
    if kind == "adalora":
        a, b, e = (getattr(layer, f"lora_{one}")["default"].detach() for one in "ABE")
        return weight + strength * 7 / (4 + 1e-5) * b @ (e * a)
    if kind == "oft":
        turn = cayley(layer.oft_R["default"].weight.detach(), 4, strength)
        return weight @ turn.T
    raw, scale = layer.boft_R["default"].detach()[0], layer.boft_s["default"].detach()
    rows, columns = torch.triu_indices(4, 4, 1)
    halves = ((raw - raw.mT) / 2)[:, rows, columns]
    return (weight @ cayley(halves, 4, strength).T) * scale**strength


@cache
def shared(method: str) -> tuple[PeftModel, dict[str, Tensor]]:
    """Return one model for all examples and its state; each example leaves it at strength 1."""
    model = adapted(PEFTS[method])
    return model, copy.deepcopy(model.state_dict())


@pytest.mark.parametrize("method", PEFTS)
@FEW
@given(FRACTIONS, FRACTIONS)
def test_peft_s_methods_are_their_dense_fractions(
    method: str, first: float, strength: float
) -> None:
    (model, state), x = shared(method), torch.randn(4, 12, dtype=WIDE)
    plain, trained = perceptron()(x), model(x)
    layers = [layer_at(model, 0), layer_at(model, 2)]
    weights = [peft_weight(layer, strength) for layer in layers]
    biases = [layer.get_base_layer().bias.detach() for layer in layers]
    hidden = (x @ weights[0].T + biases[0]).tanh()
    expected = hidden @ weights[1].T + biases[1]
    for one in (first, strength):
        set_strength(model, one)
    assert torch.allclose(model(x), expected, rtol=1e-9, atol=1e-9)
    assert strength_of(model) == strength
    twin = pickle.loads(pickle.dumps(model))
    assert torch.allclose(twin.merge_and_unload()(x), expected, rtol=1e-9, atol=1e-9)
    set_strength(model, 0)
    assert torch.equal(model(x), plain)
    set_strength(model, 1)
    assert torch.equal(model(x), trained)
    found = model.state_dict()
    assert all(torch.equal(found[name], state[name]) for name in state)


@FEW
@given(FRACTIONS)
def test_oft_is_orthogonal_at_any_strength(strength: float) -> None:
    model, _ = shared("oft")
    set_strength(model, strength)
    turn = layer_at(model, 0).get_delta_weight("default")
    set_strength(model, 1)
    assert torch.allclose(turn @ turn.T, torch.eye(12, dtype=WIDE), rtol=0, atol=1e-12)


@FEW
@given(FRACTIONS, FRACTIONS)
def test_weights_that_trained_are_interpolated(first: float, strength: float) -> None:
    config = peft.LoraConfig(
        target_modules="dummy-target-modules", bias="all", modules_to_save=["0", "2"]
    )
    model, x = adapted(config), torch.randn(4, 12, dtype=WIDE)
    keep_base(model, "default", lambda name: ".2" not in name)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter))
    body, head = (getattr(model.base_model.model, name) for name in "02")
    old, new = body.original_module, copy.deepcopy(body.modules_to_save["default"])
    at = [
        torch.lerp(a, b, strength) for a, b in zip(old.parameters(), new.parameters(), strict=True)
    ]
    expected = head((x @ at[0].T + at[1]).tanh())
    trained = model(x)
    for one in (first, strength):
        set_strength(model, one)
    assert torch.allclose(model(x), expected, rtol=1e-12, atol=1e-12)
    set_strength(model, 0)
    assert torch.equal(model(x), head(old(x).tanh()))
    set_strength(model, 1)
    assert torch.equal(model(x), trained)


def with_negative_block(model: PeftModel) -> None:
    layer_at(model, 2).goft_rotation["default"].data[3] = torch.tensor([[1.0, 0], [0, -1]])


def with_negative_factor(model: PeftModel) -> None:
    layer_at(model, 2).goft_scale["default"].data[3] = -0.5


REFUSED: list[tuple[peft.PeftConfig, Callable[[PeftModel], None] | None, str]] = [
    (GoftConfig(method="qgoft", **TARGETS), with_negative_block, r"layer .*\.2, .*determinant"),
    (GoftConfig(scale=True, **TARGETS), with_negative_factor, r"layer .*\.2, .*factor -0\.5"),
    (peft.LoraConfig(use_dora=True, **TARGETS), None, r"layer .*\.0, .*Dora"),
    (peft.LoraConfig(init_lora_weights="pissa", **TARGETS), None, "pissa has changed the base"),
    (peft.LoraConfig(bias="all", **TARGETS), None, "bias=all has trained"),
    (peft.HRAConfig(r=2, **TARGETS), None, r"layer .*\.0, .*HRA is a product of reflections"),
    (peft.IA3Config(feedforward_modules=[], **TARGETS), None, "IA3 has no fraction"),
    (peft.LoraConfig(target_modules="dummy-target-modules"), None, "changes no layer"),
]


@pytest.mark.parametrize(("config", "spoil", "said"), REFUSED, ids=[said for _, _, said in REFUSED])
def test_what_has_no_fraction_is_refused_before_anything_changes(
    config: peft.PeftConfig,
    spoil: Callable[[PeftModel], None] | None,
    said: str,
) -> None:
    model = adapted(config, perceptron().float())
    if spoil is not None:
        spoil(model)
    x = torch.randn(4, 12)
    before = model(x)
    with pytest.raises(ValueError, match=said):
        set_strength(model, 0.5)
    assert torch.equal(model(x), before)
    set_strength(model, 1)
    assert strength_of(model) == 1


@pytest.mark.parametrize("strength", [-0.1, 1.6, math.nan, math.inf, True, "1", None])
def test_a_strength_out_of_range_is_refused(strength: Any) -> None:  # noqa: ANN401 - wrong on purpose
    with pytest.raises(ValueError, match="expected a number from 0"):
        set_strength(adapted(PEFTS["lora"]), strength)


@pytest.mark.parametrize("method", ["goft", *PEFTS])
def test_neither_merged_layers_nor_training_take_a_strength(method: str) -> None:
    config = PEFTS.get(method, GoftConfig(init_weights=False, **TARGETS))
    model, x = adapted(config), torch.randn(4, 12, dtype=WIDE)
    trained = model(x)
    model.merge_adapter()
    with pytest.raises(ValueError, match=r"layer .*\.0, .*merged.*unmerge"):
        set_strength(model, 0.5)
    model.unmerge_adapter()
    set_strength(model, 0.5)
    with pytest.raises(ValueError, match="cannot be trained"):
        model.train()(x)
    set_strength(model, 1)
    assert torch.allclose(model.train()(x), trained)


@pytest.mark.parametrize("method", ["goft", "lora", "oft", "boft"])
def test_each_of_several_adapters_has_its_own_strength(method: str) -> None:
    config = PEFTS.get(method, GoftConfig(init_weights=False, **TARGETS))
    model, x = adapted(config), torch.randn(4, 12, dtype=WIDE)
    plain, first = perceptron()(x), model(x)
    model.add_adapter("other", copy.deepcopy(config))
    set_strength(model, 0.5, "other")
    assert torch.equal(model(x), first)
    with pytest.raises(ValueError, match="different strengths"):
        strength_of(model)
    assert (strength_of(model, "default"), strength_of(model, "other")) == (1, 0.5)
    set_strength(model, 0)
    cast(Any, model).base_model.set_adapter(["default", "other"])
    assert torch.equal(model.eval()(x), plain)
    model.delete_adapter("other")
    model.add_adapter("other", copy.deepcopy(config))
    assert strength_of(model, "other") == 1


def test_half_precision_and_autocast_have_exact_ends() -> None:
    model = adapted(GoftConfig(init_weights=False, **TARGETS), perceptron().bfloat16())
    plain, x = perceptron().bfloat16(), torch.randn(4, 12).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        trained = model(x)
        set_strength(model, 0)
        assert torch.equal(model(x), plain(x))
        set_strength(model, 0.5)
        assert not torch.equal(model(x), trained)
        set_strength(model, 1)
        assert torch.equal(model(x), trained)
