"""In any training loop qGOFT's penalty is in the gradients once, or a warning is given."""

from __future__ import annotations

import copy
import pickle
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

import pytest
import torch
from peft import PeftModel, get_peft_model
from torch import Tensor, nn

from goft_cli import GoftConfig, GoftModel
from goft_cli.tuner.penalty import total_penalty

if TYPE_CHECKING:
    from conftest import Family

WEIGHT = 50.0
LABELS = torch.tensor([0, 1])
# Sums of float32 in another order; the penalty's gradient is as large as the task's, or larger.
TOLERANCE = 64 * torch.finfo(torch.float32).eps


def adapted(family: Family, weight: float, **options: Any) -> PeftModel:  # noqa: ANN401
    torch.manual_seed(3)
    return get_peft_model(family.build(), config(family, weight, **options)).train()


def config(family: Family, weight: float, **options: Any) -> GoftConfig:  # noqa: ANN401
    return GoftConfig(
        method="qgoft",
        penalty_weight=weight,
        init_weights=False,
        target_modules=family.targets,
        **options,
    )


def blocks(model: nn.Module) -> dict[str, Tensor]:
    return {name: p for name, p in model.named_parameters() if "goft_rotation" in name}


def formula(block: Tensor, weight: float = WEIGHT) -> tuple[Tensor, Tensor]:
    """Return value and gradient of weight * sum (a1 b1 + a2 b2)^2, computed by hand."""
    a1, b1, a2, b2 = block.detach().reshape(-1, 4).unbind(-1)
    product = a1 * b1 + a2 * b2
    gradient = 2 * weight * torch.stack((b1, a1, b2, a2), -1) * product.unsqueeze(-1)
    return weight * product.square().sum(), gradient.view(-1, 2, 2)


def gradients(model: nn.Module, loss: Tensor) -> dict[str, Tensor]:
    found = blocks(model)
    return dict(zip(found, torch.autograd.grad(loss, list(found.values())), strict=True))


def own_loss(output: Any) -> Tensor:  # noqa: ANN401 - a model's output
    return nn.functional.cross_entropy(output.logits, LABELS)


Step = Callable[[nn.Module, dict[str, Tensor]], Tensor]


def in_forward(model: nn.Module, inputs: dict[str, Tensor]) -> Tensor:
    return model(**inputs, labels=LABELS).loss


def in_a_tuple(model: nn.Module, inputs: dict[str, Tensor]) -> Tensor:
    return model(**inputs, labels=LABELS, return_dict=False)[0]


def as_in_earlier_versions(model: nn.Module, inputs: dict[str, Tensor]) -> Tensor:
    loss, penalty = model(**inputs, labels=LABELS).loss, total_penalty(model)
    return loss if penalty is None else loss + penalty


def beside_it(model: nn.Module, inputs: dict[str, Tensor]) -> Tensor:
    loss, penalty = own_loss(model(**inputs)), total_penalty(model)
    return loss if penalty is None else loss + penalty


@pytest.mark.parametrize("step", [in_forward, in_a_tuple, as_in_earlier_versions, beside_it])
@pytest.mark.parametrize("task_type", [None, "SEQ_CLS"])
def test_a_loop_of_ones_own_has_the_penalty_once(
    encoder: Family, step: Step, task_type: str | None
) -> None:
    model, plain = (adapted(encoder, w, task_type=task_type) for w in (WEIGHT, 0.0))
    without = gradients(plain, in_forward(plain, encoder.inputs))
    loss = step(model, encoder.inputs)
    found = gradients(model, loss)
    for name, block in blocks(model).items():
        expected = without[name] + formula(block)[1]
        torch.testing.assert_close(found[name], expected, rtol=TOLERANCE, atol=TOLERANCE)
    value = sum(formula(block)[0].item() for block in blocks(model).values())
    plain_loss = in_forward(plain, encoder.inputs).item()
    assert loss.item() == pytest.approx(plain_loss + value, rel=1e-5)


@pytest.mark.filterwarnings("ignore:Already found a `peft_config` attribute:UserWarning")
def test_adapters_that_transformers_added_have_it_too(encoder: Family) -> None:
    torch.manual_seed(0)
    model = encoder.build()
    for name in ("one", "two"):
        model.add_adapter(config(encoder, WEIGHT), name)
    model.set_adapter("one")
    model.train()
    loss = model(**encoder.inputs, labels=LABELS).loss
    model.eval()
    value = sum(formula(b)[0].item() for name, b in blocks(model).items() if name.endswith(".one"))
    assert loss.item() == pytest.approx(
        model(**encoder.inputs, labels=LABELS).loss.item() + value, rel=1e-5
    )


def test_each_active_adapter_counts_by_its_own_weight(encoder: Family) -> None:
    model = adapted(encoder, WEIGHT)
    model.add_adapter("other", config(encoder, 2 * WEIGHT))
    cast("GoftModel", model.base_model).set_adapter(["default", "other"])
    model(**encoder.inputs)
    weights = {"default": WEIGHT, "other": 2 * WEIGHT}
    expected = sum(
        formula(block, weights[name.rpartition(".")[2]])[0].item()
        for name, block in blocks(model).items()
    )
    found = total_penalty(model)
    assert found is not None
    assert found.item() == pytest.approx(expected, rel=1e-5)


def test_an_adapter_that_does_not_train_has_no_penalty(encoder: Family) -> None:
    model = adapted(encoder, WEIGHT)
    model.requires_grad_(False)
    plain = model.eval()(**encoder.inputs, labels=LABELS).loss
    assert torch.equal(model.train()(**encoder.inputs, labels=LABELS).loss, plain)
    assert total_penalty(model) is None


def test_evaluation_has_none(encoder: Family) -> None:
    model, plain = (adapted(encoder, w).eval() for w in (WEIGHT, 0.0))
    losses = [m(**encoder.inputs, labels=LABELS).loss for m in (model, plain)]
    assert torch.equal(*losses)
    assert total_penalty(model) is None


@pytest.mark.parametrize("reentrant", [True, False])
def test_checkpointing_neither_doubles_nor_drops_it(encoder: Family, reentrant: bool) -> None:
    found = []
    for checkpointing in (False, True):
        model = adapted(encoder, WEIGHT)
        model.enable_input_require_grads()
        if checkpointing:
            model.gradient_checkpointing_enable({"use_reentrant": reentrant})
        for _ in range(2):  # recomputation in the first backward pass must not count in the next
            model.zero_grad()
            in_forward(model, encoder.inputs).backward()
        found.append({name: block.grad for name, block in blocks(model).items()})
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])


def without_labels(model: nn.Module, inputs: dict[str, Tensor]) -> Tensor:
    return own_loss(model(**inputs))


def with_labels_but_another_loss(model: nn.Module, inputs: dict[str, Tensor]) -> Tensor:
    output = model(**inputs, labels=LABELS)
    penalty = total_penalty(model)
    assert penalty is not None
    return own_loss(output) + penalty


@pytest.mark.parametrize("step", [without_labels, with_labels_but_another_loss])
def test_a_loss_without_it_is_warned_of_once(encoder: Family, step: Step) -> None:
    model = adapted(encoder, WEIGHT)
    with pytest.warns(UserWarning, match=r"qGOFT.*total_penalty\(model\)"):
        step(model, encoder.inputs).backward()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        step(model, encoder.inputs).backward()


def test_a_pass_whose_outputs_alone_are_used_beside_one_with_a_loss_is_fine(
    encoder: Family,
) -> None:
    model = adapted(encoder, WEIGHT)
    loss = in_forward(model, encoder.inputs)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (loss + model(**encoder.inputs).logits.square().mean()).backward()


def test_a_merged_model_has_nothing_of_it_left(encoder: Family) -> None:
    merged = adapted(encoder, WEIGHT).merge_and_unload()
    assert not any("goft" in repr(module.__dict__) for module in merged.modules())
    assert "goft" not in repr(pickle.dumps(merged))


def test_copies_penalise_by_themselves(encoder: Family) -> None:
    model = adapted(encoder, WEIGHT)
    expected = in_forward(model, encoder.inputs)
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert torch.equal(in_forward(twin, encoder.inputs), expected)
        own = gradients(twin, in_forward(twin, encoder.inputs))
        assert all(gradient.any() for gradient in own.values())
        twin.unload()
        assert "goft" not in repr(pickle.dumps(twin.get_base_model()))
    assert torch.equal(in_forward(model, encoder.inputs), expected)
