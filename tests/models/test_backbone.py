"""Base models load from complete folders and are refused from others."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModel, PreTrainedModel

from goft_cli.config import GoftAdapterConfig, LinearProbeConfig, ModelConfig
from goft_cli.models.adapters import attach_adapter, count_adapted_layers, count_parameters
from goft_cli.models.backbone import Backbone, load_backbone
from goft_cli.rotation import engines
from goft_cli.system.errors import GoftError
from tests.support import small_runs
from tests.support.small_runs import composed


class Head(small_runs.Head):
    """A task with three labels."""

    labels: ClassVar[int] = 3


AUTO = Head.auto_class
TARGETS = ["query", "key", "value", "attention.output.dense", "intermediate.dense", "output.dense"]
HEAD = ["pooler", "classifier"]
UPDATES = 10


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_runs.write_model(tmp_path_factory.mktemp("model"))


def load(folder: Path) -> Backbone:
    model = ModelConfig(name="small", path=str(folder), target_modules=TARGETS, head_modules=HEAD)
    return load_backbone(model, Head())


def test_the_same_folder_has_the_same_fingerprint(folder: Path, tmp_path: Path) -> None:
    first = load(folder)
    assert load(folder).fingerprint == first.fingerprint
    other = small_runs.write_model(tmp_path / "other", seed=1)
    assert load(other).fingerprint != first.fingerprint
    assert first.model.config.num_labels == 3


def test_an_unknown_rotation_engine_is_refused_before_loading(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "_forced", "quick")  # as GOFT_ENGINE=quick does
    with pytest.raises(GoftError, match=r"GOFT_ENGINE=quick .*auto, staged"):
        load(folder)


def test_only_the_head_and_the_adapter_train(folder: Path) -> None:
    backbone = load(folder)
    config = GoftAdapterConfig(name="goft", target_modules=TARGETS)
    model = attach_adapter(backbone, config, HEAD, AUTO, UPDATES)
    counts = count_parameters(model, HEAD)
    assert counts.adapter == 2 * (5 * 15 + 31)
    assert counts.head == 16 * 16 + 16 + 3 * 16 + 3
    assert count_adapted_layers(model) == 12
    trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert trainable == counts.adapter + counts.head


def test_the_linear_probe_adapts_nothing(folder: Path) -> None:
    model = attach_adapter(load(folder), LinearProbeConfig(name="linear"), HEAD, AUTO, UPDATES)
    assert count_adapted_layers(model) == 0
    assert count_parameters(model, HEAD).adapter == 0
    assert count_parameters(model, HEAD).head > 0


def test_half_precision_weights_keep_the_adapter_in_float32(folder: Path, tmp_path: Path) -> None:
    half = shutil.copytree(folder, tmp_path / "half")
    tensors = {k: v.bfloat16() for k, v in load_file(half / "model.safetensors").items()}
    save_file(tensors, half / "model.safetensors", metadata={"format": "pt"})
    backbone = load(half)
    assert {p.dtype for p in backbone.model.parameters()} == {torch.float32}


def test_modules_named_as_in_another_architecture(folder: Path) -> None:
    """Check that DeBERTa's module names are refused on BERT, which has some of them."""
    model = composed(["model=deberta-v3-base", f"model.path={folder}"]).model
    with pytest.raises(GoftError, match=r"architecture bert.*modules"):
        load_backbone(model, Head())
    assert load_backbone(replace(model, architecture="bert"), Head()).fingerprint


def test_a_tokenizer_that_no_installed_package_reads(folder: Path, tmp_path: Path) -> None:
    model = replace(composed(["model=minilm-l6"]).model, path=str(folder))
    wanted = replace(model, requires=["protobuf", "no-such-package"])
    assert load_backbone(wanted, Head()).fingerprint  # tokenizer.json needs neither package
    bare = shutil.copytree(folder, tmp_path / "bare")
    (bare / "tokenizer.json").unlink()
    with pytest.raises(GoftError, match=r"pip install no-such-package"):
        load_backbone(replace(wanted, path=str(bare)), Head())


def test_a_tokenizer_stops_where_the_models_positions_end(folder: Path, tmp_path: Path) -> None:
    endless = shutil.copytree(folder, tmp_path / "endless")
    stated = json.loads((endless / "tokenizer_config.json").read_text())
    assert stated.pop("model_max_length") == 32
    (endless / "tokenizer_config.json").write_text(json.dumps(stated))
    tokenizer = load(endless).processor
    assert tokenizer.model_max_length == 32


def of_kind(model: PreTrainedModel, folder: Path, to: Path) -> Path:
    """Save a model without a head, beside the tokenizer of a folder."""
    shutil.copytree(folder, to, ignore=shutil.ignore_patterns("config.json", "*.safetensors"))
    model.save_pretrained(to)
    return to


@pytest.mark.parametrize("kind", ["distilbert", "modernbert"])
def test_the_modules_of_a_new_head_are_named(kind: str, folder: Path, tmp_path: Path) -> None:
    """Check that the modules in the error can be passed, and give the model of the shipped YAML."""
    size: dict[str, Any] = {
        "num_hidden_layers": 2,
        "hidden_size": 16,
        "num_attention_heads": 2,
        "vocab_size": 16,
    }
    ends = {"pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3}
    base = AutoModel.from_config(AutoConfig.for_model(kind, **size, **ends))
    there = of_kind(base, folder, tmp_path / kind)
    family = replace(composed([f"model={kind}-base"]).model, path=str(there))
    cfg = replace(family, head_modules=["pooler", "classifier"])
    with pytest.raises(GoftError, match="tensors") as refused:
        load_backbone(cfg, Head())
    advised = re.search(r"model.head_modules=\[([\w,]+)\]", str(refused.value))
    assert advised
    named = advised[1].split(",")
    assert named[:2] == cfg.head_modules
    assert {*named[2:]} < {*(family.head_modules or [])}
    taken = load_backbone(replace(cfg, head_modules=named), Head())
    assert taken.fingerprint == load_backbone(family, Head()).fingerprint
