"""GOFT's variants start, save, load, merge and switch as each PEFT method must."""

from __future__ import annotations

import copy
import json
import pickle
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest
import torch
from peft import LoraConfig, PeftConfig, PeftModel
from torch import nn

from goft_cli import GoftConfig, GoftLayer, GoftModel

if TYPE_CHECKING:
    from conftest import Attach, Equal, Family, Logits


def fresh(family: Family) -> nn.Module:
    torch.manual_seed(4)
    return family.build().double()


def activate(model: PeftModel, names: list[str]) -> None:
    """Activate several adapters at once; PeftModel.set_adapter takes a single name."""
    cast(GoftModel, model.base_model).set_adapter(names)


def add_random(model: PeftModel, name: str, targets: list[str], variant: dict[str, Any]) -> None:
    options = {"target_modules": targets, "init_weights": False, **variant}
    model.add_adapter(name, GoftConfig(**options))


def test_starts_as_the_base_model_bit_by_bit(
    family: Family, variant: dict[str, Any], attach: Attach, logits: Logits
) -> None:
    base = family.build().eval()
    expected = logits(base, family)
    model = attach(base, family.targets, **variant)
    assert not torch.equal(logits(model, family), expected)
    model.add_adapter("start", GoftConfig(target_modules=family.targets, **variant))
    model.set_adapter("start")
    assert torch.equal(logits(model, family), expected)


def test_saved_and_loaded_model_gives_equal_bits(
    adapted: PeftModel, family: Family, logits: Logits, tmp_path: Path
) -> None:
    expected = logits(adapted, family)
    adapted.save_pretrained(str(tmp_path), save_embedding_layers=False)
    base = fresh(family)
    base.load_state_dict(copy.deepcopy(adapted).unload().state_dict())
    loaded = PeftModel.from_pretrained(base, tmp_path)  # pyright: ignore[reportArgumentType]
    assert torch.equal(logits(loaded.eval(), family), expected)
    assert not any(p.requires_grad for p in loaded.parameters())


def test_only_the_adapter_is_trainable_and_saved(adapted: PeftModel, tmp_path: Path) -> None:
    trainable = {name for name, p in adapted.named_parameters() if p.requires_grad}
    assert trainable == {name for name, _ in adapted.named_parameters() if ".goft_" in name}
    adapted.save_pretrained(str(tmp_path), save_embedding_layers=False)
    saved = PeftConfig.from_pretrained(str(tmp_path))
    assert isinstance(saved, GoftConfig)
    assert json.loads((tmp_path / "adapter_config.json").read_text())["peft_type"] == "GOFT"


def test_merged_weights_give_the_same_outputs(
    adapted: PeftModel, family: Family, logits: Logits, assert_equal_by_algebra: Equal
) -> None:
    expected = logits(adapted, family)
    adapted.merge_adapter(safe_merge=True)
    assert_equal_by_algebra(logits(adapted, family), expected)
    adapted.unmerge_adapter()
    assert torch.equal(logits(adapted, family), expected)
    merged = adapted.merge_and_unload(safe_merge=True)
    assert not any(isinstance(module, GoftLayer) for module in merged.modules())
    assert_equal_by_algebra(logits(merged, family), expected)


def test_disabled_adapter_is_the_base_model_even_while_merged(
    adapted: PeftModel, family: Family, logits: Logits
) -> None:
    base, own = logits(copy.deepcopy(adapted).unload(), family), logits(adapted, family)
    adapted.merge_adapter()
    with adapted.disable_adapter():
        assert torch.equal(logits(adapted, family), base)
    assert torch.equal(logits(adapted, family), own)


def test_several_adapters_switch_stack_and_go(
    adapted: PeftModel,
    family: Family,
    variant: dict[str, Any],
    logits: Logits,
    assert_equal_by_algebra: Equal,
) -> None:
    first = logits(adapted, family)
    add_random(adapted, "other", family.targets, variant)
    assert torch.equal(logits(adapted, family), first)
    adapted.set_adapter("other")
    other = logits(adapted, family)
    assert not torch.allclose(other, first)
    trainable = {name for name, p in adapted.named_parameters() if p.requires_grad}
    assert trainable
    assert all(name.endswith(".other") for name in trainable)
    activate(adapted, ["default", "other"])
    stacked = logits(adapted, family)
    adapted.merge_adapter()
    assert_equal_by_algebra(logits(adapted, family), stacked)
    adapted.unmerge_adapter()
    adapted.set_adapter("default")
    adapted.delete_adapter("other")
    assert torch.equal(logits(adapted, family), first)
    assert not any(".other" in name for name, _ in adapted.named_parameters())


def test_switching_while_merged_unmerges_first(
    encoder: Family, variant: dict[str, Any], attach: Attach, logits: Logits
) -> None:
    model = attach(encoder.build(), encoder.targets, **variant)
    add_random(model, "other", encoder.targets, variant)
    model.set_adapter("other")
    other = logits(model, encoder)
    model.set_adapter("default")
    model.merge_adapter()
    with pytest.warns(UserWarning, match="Unmerging the model first"):
        model.set_adapter("other")
    assert torch.equal(logits(model, encoder), other)


def test_stacked_adapters_need_not_adapt_the_same_modules(
    encoder: Family,
    variant: dict[str, Any],
    attach: Attach,
    logits: Logits,
    assert_equal_by_algebra: Equal,
) -> None:
    model = attach(encoder.build().double(), ["query"], **variant)
    add_random(model, "other", ["query", "value"], variant)
    activate(model, ["other", "default"])
    expected = logits(model, encoder)
    assert_equal_by_algebra(logits(model.merge_and_unload(), encoder), expected)


def test_copies_of_the_whole_model(adapted: PeftModel, family: Family, logits: Logits) -> None:
    adapted.train()
    adapted(**{k: v.double() if v.is_floating_point() else v for k, v in family.inputs.items()})
    adapted.eval()
    expected = logits(adapted, family)
    assert torch.equal(logits(copy.deepcopy(adapted), family), expected)
    assert torch.equal(logits(pickle.loads(pickle.dumps(adapted)), family), expected)


def test_whole_model_through_torch_save(
    adapted: PeftModel, family: Family, logits: Logits, tmp_path: Path
) -> None:
    torch.save(adapted, tmp_path / "model.pt")
    loaded = torch.load(tmp_path / "model.pt", weights_only=False)
    assert torch.equal(logits(loaded, family), logits(adapted, family))


@pytest.mark.parametrize(
    ("dtype", "autocast_adapter_dtype"), [(torch.bfloat16, False), (torch.float16, True)]
)
def test_half_precision_models(
    family: Family,
    variant: dict[str, Any],
    dtype: torch.dtype,
    autocast_adapter_dtype: bool,
    attach: Attach,
    logits: Logits,
) -> None:
    model = attach(cast(nn.Module, family.build()).to(dtype), family.targets, **variant)
    extra = GoftConfig(target_modules=family.targets, init_weights=False, **variant)
    model.add_adapter("x", extra, autocast_adapter_dtype=autocast_adapter_dtype)
    model.set_adapter("x")
    found = {p.dtype for name, p in model.named_parameters() if name.endswith(".x")}
    assert found == {torch.float32 if autocast_adapter_dtype else dtype}
    half = logits(model, family)
    wide = logits(model.float(), family)
    # Ten or so roundings of width-24 sums in a row; a missing rotation is an error of order one.
    assert (half.float() - wide).norm() <= 30 * torch.finfo(dtype).eps * wide.norm()


def test_unloading_several_adapters_leaves_no_hook(encoder: Family, attach: Attach) -> None:
    model = attach(encoder.build(), encoder.targets, method="qgoft")
    add_random(model, "other", encoder.targets, {})
    plain = cast(Any, model).unload()
    assert not plain._forward_hooks
    assert not plain._forward_pre_hooks


def test_adapters_of_another_method_are_refused(encoder: Family, attach: Attach) -> None:
    model = attach(encoder.build(), encoder.targets)
    with pytest.raises(ValueError, match="different peft types"):
        model.add_adapter("another", LoraConfig(target_modules=encoder.targets))
