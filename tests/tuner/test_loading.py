"""Other ways in: Auto classes, transformers' own adapter methods, a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
import transformers as tf
from peft import AutoPeftModelForSequenceClassification
from torch import Tensor

from goft_cli import GoftConfig, GoftLayer

if TYPE_CHECKING:
    from conftest import Attach, Family, Logits


@pytest.fixture
def saved(
    encoder: Family, variant: dict[str, Any], attach: Attach, logits: Logits, tmp_path: Path
) -> tuple[Path, Path, Tensor]:
    """Folders of a base model and of its adapter, and the logits of both together."""
    base, folder = encoder.build(), tmp_path / "adapter"
    base.save_pretrained(tmp_path / "base")
    base = tf.BertForSequenceClassification.from_pretrained(tmp_path / "base")
    model = attach(base, encoder.targets, task_type="SEQ_CLS", **variant)
    model.save_pretrained(str(folder))
    return tmp_path / "base", folder, logits(model, encoder)


Saved = tuple[Path, Path, Tensor]


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
