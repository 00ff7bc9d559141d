"""Auto classes, transformers' methods and a new process load adapters; damaged ones are refused."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
import transformers as tf
from peft import AutoPeftModelForSequenceClassification, PeftModel, get_peft_model
from peft.utils import get_peft_model_state_dict, set_peft_model_state_dict
from safetensors.torch import load_file, save_file
from torch import Tensor

from goft_cli import GoftConfig, GoftLayer

if TYPE_CHECKING:
    from conftest import Attach, Family, Logits


Saved = tuple[Path, Path, Tensor]


@pytest.fixture
def saved(
    encoder: Family, variant: dict[str, Any], attach: Attach, logits: Logits, tmp_path: Path
) -> Saved:
    """Return the folders of a base model and its adapter, and the adapted model's logits."""
    return save(encoder, variant, attach, logits, tmp_path)


@pytest.fixture
def saved_once(encoder: Family, attach: Attach, logits: Logits, tmp_path: Path) -> Saved:
    """Return the same for the variant that has both kinds of tensors, rotations and scales."""
    return save(encoder, {"scale": True}, attach, logits, tmp_path)


def save(
    encoder: Family, variant: dict[str, Any], attach: Attach, logits: Logits, tmp_path: Path
) -> Saved:
    base, folder = encoder.build(), tmp_path / "adapter"
    base.save_pretrained(tmp_path / "base")
    base = tf.BertForSequenceClassification.from_pretrained(tmp_path / "base")
    model = attach(base, encoder.targets, task_type="SEQ_CLS", **variant)
    model.save_pretrained(str(folder))
    return tmp_path / "base", folder, logits(model, encoder)


def test_auto_peft_model(saved: Saved, encoder: Family, logits: Logits) -> None:
    _, folder, expected = saved
    model = AutoPeftModelForSequenceClassification.from_pretrained(folder)
    assert torch.equal(logits(model, encoder), expected)


def test_auto_model_opens_an_adapter_folder(saved: Saved, encoder: Family, logits: Logits) -> None:
    _, folder, expected = saved
    model = tf.AutoModelForSequenceClassification.from_pretrained(folder).eval()
    assert any(isinstance(module, GoftLayer) for module in model.modules())
    assert torch.equal(logits(model, encoder), expected)


def test_transformers_load_adapter(saved: Saved, encoder: Family, logits: Logits) -> None:
    base, folder, expected = saved
    model = tf.AutoModelForSequenceClassification.from_pretrained(base)
    plain = logits(model, encoder)
    model.load_adapter(str(folder))
    assert torch.equal(logits(model, encoder), expected)
    model.disable_adapters()
    assert torch.equal(logits(model, encoder), plain)


def test_transformers_add_and_delete_adapter(
    encoder: Family, variant: dict[str, Any], logits: Logits
) -> None:
    model = encoder.build().eval()
    plain = logits(model, encoder)
    model.add_adapter(GoftConfig(target_modules=["query"], init_weights=False, **variant), "one")
    assert not torch.equal(logits(model, encoder), plain)
    model.delete_adapter("one")
    assert not any("goft" in name for name, _ in model.named_parameters())
    assert torch.equal(logits(model, encoder), plain)


Damage = Callable[[dict[str, Tensor], str], None]


def cut_short(tensors: dict[str, Tensor], name: str) -> None:
    del tensors[name]


def doubled(tensors: dict[str, Tensor], name: str) -> None:
    tensors[name.replace("layer.1", "layer.7")] = tensors[name].clone()


def with_a_base_weight(tensors: dict[str, Tensor], name: str) -> None:
    tensors["base_model.model.bert.encoder.layer.0.output.LayerNorm.weight"] = torch.ones(24)


def integers(tensors: dict[str, Tensor], name: str) -> None:
    tensors[name] = tensors[name].long()


def with_a_nan(tensors: dict[str, Tensor], name: str) -> None:
    tensors[name].view(-1)[0] = float("nan")


def with_an_infinity(tensors: dict[str, Tensor], name: str) -> None:
    tensors[name].view(-1)[-1] = float("-inf")


def narrower(tensors: dict[str, Tensor], name: str) -> None:
    tensors[name] = tensors[name][1:]


DAMAGES: list[tuple[Damage, str]] = [
    (cut_short, "missing.*layer.1"),
    (doubled, "place.*layer.7"),
    (with_a_base_weight, "place.*LayerNorm.weight"),
    (integers, "floating point.*layer.1"),
    (with_a_nan, "not finite.*layer.1"),
    (with_an_infinity, "not finite.*layer.1"),
    (narrower, "size mismatch"),
]


@pytest.mark.parametrize(("damage", "said"), DAMAGES, ids=lambda one: getattr(one, "__name__", ""))
@pytest.mark.parametrize("thrifty", [False, True])
def test_a_damaged_file_is_refused_whatever_loads_it(
    saved_once: Saved, damage: Damage, said: str, thrifty: bool
) -> None:
    base, folder, _ = saved_once
    file = folder / "adapter_model.safetensors"
    tensors = load_file(file)
    name = next(key for key in tensors if "layer.1" in key)
    damage(tensors, name)
    save_file(tensors, file)
    model = tf.AutoModelForSequenceClassification.from_pretrained(base)
    with pytest.raises((ValueError, RuntimeError), match=said):
        PeftModel.from_pretrained(model, folder, low_cpu_mem_usage=thrifty)


def test_a_second_adapter_is_checked_by_itself(saved_once: Saved) -> None:
    base, folder, _ = saved_once
    model = tf.AutoModelForSequenceClassification.from_pretrained(base)
    loaded = PeftModel.from_pretrained(model, folder, adapter_name="one")
    loaded.load_adapter(folder, "two", low_cpu_mem_usage=True)
    weights = get_peft_model_state_dict(loaded, adapter_name="two")
    set_peft_model_state_dict(loaded, weights, adapter_name="one")
    one, two = (get_peft_model_state_dict(loaded, adapter_name=name) for name in ("one", "two"))
    assert all(torch.equal(one[key], two[key]) for key in one)
    weights.pop(next(key for key in weights if "goft_rotation" in key))
    with pytest.raises(ValueError, match=r"'two'.*missing"):
        set_peft_model_state_dict(loaded, weights, adapter_name="two")


def test_what_was_saved_beside_the_adapter_is_no_surplus(encoder: Family, tmp_path: Path) -> None:
    config = GoftConfig(target_modules=["query"], modules_to_save=["classifier"])
    model = get_peft_model(encoder.build(), config)
    model.save_pretrained(str(tmp_path), save_embedding_layers=True)
    assert any(
        "word_embeddings" in key for key in load_file(tmp_path / "adapter_model.safetensors")
    )
    PeftModel.from_pretrained(encoder.build(), tmp_path)


PROGRAM = """
import sys, torch
import goft_cli.tuner
from peft import AutoPeftModelForSequenceClassification
model = AutoPeftModelForSequenceClassification.from_pretrained(sys.argv[1])
ids = torch.arange(14).view(2, 7) % 40
with torch.no_grad():
    torch.save(model(input_ids=ids).logits, sys.argv[2])
    whole = torch.load(sys.argv[3], weights_only=False)
    torch.save(whole(input_ids=ids).logits, sys.argv[4])
"""


@pytest.mark.slow
def test_a_fresh_process_that_imports_the_tuner(
    encoder: Family, attach: Attach, logits: Logits, tmp_path: Path
) -> None:
    encoder.build().save_pretrained(tmp_path / "base")
    base = tf.BertForSequenceClassification.from_pretrained(tmp_path / "base")
    model = attach(base, encoder.targets, task_type="SEQ_CLS", method="qgoft")
    model.save_pretrained(str(tmp_path / "adapter"))
    torch.save(model, tmp_path / "model.pt")
    files = [tmp_path / name for name in ("adapter", "auto.pt", "model.pt", "whole.pt")]
    subprocess.run([sys.executable, "-c", PROGRAM, *files], check=True, capture_output=True)
    for file in (files[1], files[3]):
        assert torch.equal(torch.load(file), logits(model, encoder))
