"""Check gradients of whole models: with checkpointing, autocast, the penalty, over a few steps."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import pytest
import torch
from peft import PeftModel
from torch import Tensor, nn

from goft_cli.tuner.penalty import total_penalty

if TYPE_CHECKING:
    from conftest import Attach, Family


def penalty(model: nn.Module) -> Tensor | float:
    found = total_penalty(model)
    return 0.0 if found is None else found


def gradients(model: PeftModel, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the gradients of the mean squared logits plus the penalty, by parameter."""
    model.zero_grad()
    loss = model(**inputs).logits.square().mean() + penalty(model)
    loss.backward()
    return {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


def trainable(model: nn.Module) -> set[str]:
    return {name for name, p in model.named_parameters() if p.requires_grad}


@pytest.mark.parametrize("reentrant", [True, False])
def test_gradient_checkpointing_gives_the_same_gradients(
    family: Family, variant: dict[str, Any], reentrant: bool, attach: Attach
) -> None:
    model = attach(family.build(), family.targets, **variant).train()
    if family.inputs.keys() == {"pixel_values"}:
        family.inputs["pixel_values"].requires_grad_()  # reentrant mode needs such an input
    else:
        model.enable_input_require_grads()
    expected = gradients(model, family.inputs)
    assert expected.keys() >= trainable(model)
    model.gradient_checkpointing_enable({"use_reentrant": reentrant})
    found = gradients(model, family.inputs)
    assert found.keys() == expected.keys()
    # The backward pass repeats the same operations as the forward pass.
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_autocast_gradients_reach_every_parameter_in_float32(
    family: Family, variant: dict[str, Any], attach: Attach
) -> None:
    model = attach(family.build(), family.targets, **variant).train()
    exact = gradients(model, family.inputs)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = gradients(model, family.inputs)
    assert found.keys() == exact.keys() == trainable(model)
    norm = torch.stack([g.norm() for g in exact.values()]).norm()
    error = torch.stack([(found[n] - exact[n]).norm() for n in exact]).norm()
    assert {g.dtype for g in found.values()} == {torch.float32}
    # A few dozen bfloat16 roundings, forwards and backwards.
    assert error <= 30 * torch.finfo(torch.bfloat16).eps * norm


def test_penalty_of_a_model_is_the_sum_over_its_layers(encoder: Family, attach: Attach) -> None:
    options = {"method": "qgoft", "penalty_weight": 0.5}
    model = attach(encoder.build(), encoder.targets, **options).train()
    model(**encoder.inputs)
    found = penalty(model)
    assert isinstance(found, Tensor)
    expected = sum(
        0.5 * (b[:, 0, 0] * b[:, 0, 1] + b[:, 1, 0] * b[:, 1, 1]).square().sum().item()
        for name, b in model.named_parameters()
        if "goft_rotation" in name
    )
    assert found.item() == pytest.approx(expected, rel=1e-5)


def test_penalty_alone_trains_blocks_back_to_orthogonal_columns(
    encoder: Family, attach: Attach
) -> None:
    model = attach(encoder.build(), ["query"], method="qgoft", penalty_weight=1.0).train()
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    sizes = []
    for _ in range(30):
        model(**encoder.inputs)
        loss = penalty(model)
        assert isinstance(loss, Tensor)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        sizes.append(loss.item())
    assert sizes[-1] < 0.01 * sizes[0]


def test_training_changes_the_adapter_only_and_lowers_the_loss(
    family: Family, variant: dict[str, Any], attach: Attach
) -> None:
    model = attach(family.build(), family.targets, **variant)
    before = copy.deepcopy(model.state_dict())
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=0.01)
    losses = []
    for _ in range(8):
        loss = model(**family.inputs).logits.square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    changed = {n for n, p in model.state_dict().items() if not torch.equal(p, before[n])}
    assert changed == trainable(model)
