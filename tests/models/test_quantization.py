"""Quantized (packed) base weights stay as they are below an adapter, and can be merged."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import get_model_status, get_peft_model
from torch import Tensor, nn
from transformers import AutoModelForSequenceClassification, PreTrainedModel

from goft_cli.config import EvalConfig, MergeConfig, Quantization, TrainConfig
from goft_cli.models.adapters import attach_adapter, count_adapted_layers, count_parameters
from goft_cli.models.backbone import load_backbone
from goft_cli.rotation import rotate
from goft_cli.run import pipeline
from goft_cli.run.folder import RunFolder
from goft_cli.run.preflight import check_quantization
from goft_cli.system.errors import GoftError
from goft_cli.tasks.families import build_task
from goft_cli.tuner import GoftConfig
from goft_cli.tuner.base_weight import base_weight
from goft_cli.tuner.layer import GoftLayer
from goft_cli.verbs.eval import evaluate
from goft_cli.verbs.merge import merge
from tests.support import small_runs
from tests.support.recipe_cells import CHOICES

pytest.importorskip("bitsandbytes")

BITS = ("4bit", "8bit")
PLAIN_ONLY = {"full", "hra", "ia3", "peft", "psoft", "road", "vera"}
TARGETS = ["query", "value", "output.dense"]
# Relative error of a product. NF4 is unpacked exactly, so only float32 rounds; LLM.int8() rounds
# the activations too, by 1/254 of the largest, which is below 4 standard deviations here.
ROUNDING = {"4bit": 1e-5, "8bit": 4 / 254}
# Half the widest gap between neighbouring codes, relative to the largest weight of a block, and the
# rounding to float16, which bitsandbytes uses in between.
STEP = {"4bit": 0.16, "8bit": 0.5 / 127 + 2**-11}


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    root = tmp_path_factory.mktemp("packed")
    model = small_runs.write_model(root / "model", width=64)
    return small_runs.overrides(model, small_runs.write_data(root / "data"), root / "run")


def packed(words: list[str], bits: str, *more: str) -> tuple[TrainConfig, PreTrainedModel]:
    cfg = small_runs.composed([*words, f"model.quantization={bits}", *more])
    return cfg, load_backbone(cfg.model, build_task(cfg.task)).model


def turned(model: PreTrainedModel, method: str) -> list[GoftLayer]:
    """Attach rotations that are not the identity to the model, and return the adapted layers."""
    torch.manual_seed(0)
    options: dict[str, Any] = {"method": method, "init_weights": False, "target_modules": TARGETS}
    adapted = get_peft_model(model, GoftConfig(**options))
    return [layer for layer in adapted.modules() if isinstance(layer, GoftLayer)]


def dense(layer: GoftLayer) -> Tensor:
    """Return W R^T, where W is the unpacked weight."""
    return rotate(base_weight(layer.get_base_layer()).float(), layer.rotation("default")).detach()


def state(module: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("method", ["goft", "qgoft"])
def test_inputs_are_turned_and_the_weight_stays(words: list[str], bits: str, method: str) -> None:
    layers = turned(packed(words, bits)[1], method)
    for layer in layers:
        base = layer.get_base_layer()
        before = state(base)
        x = torch.randn(40, layer.in_features, requires_grad=True)
        for training in (True, False):
            found = layer.train(training)(x)
            expected = x @ dense(layer).T + base.get_parameter("bias")
            error = (found - expected).abs().max() / expected.std()
            assert error < ROUNDING[bits] * layer.in_features**0.5
        found.square().sum().backward()
        gradient = layer.goft_rotation["default"].grad
        assert gradient is not None
        assert torch.isfinite(gradient).all()
        assert gradient.abs().max() > 0
        assert same(state(base), before)


@pytest.mark.parametrize("bits", BITS)
def test_peft_is_told_how_the_weight_is_packed(words: list[str], bits: str) -> None:
    model = packed(words, bits)[1]
    plain = GoftConfig(target_modules=TARGETS)
    assert get_model_status(get_peft_model(model, plain)).quantization_backend == f"bnb {bits}"


@pytest.mark.parametrize("bits", BITS)
def test_merging_packs_again_and_unmerging_gives_the_bits_back(words: list[str], bits: str) -> None:
    for layer in turned(packed(words, bits)[1], "qgoft"):
        original, wanted = layer.get_base_layer(), dense(layer)
        before = state(original)
        layer.merge(safe_merge=True)
        merged = layer.get_base_layer()
        assert type(merged) is type(original)
        assert (base_weight(merged) - wanted).abs().max() <= STEP[bits] * wanted.abs().max()
        x = torch.randn(8, layer.in_features)
        assert torch.isfinite(layer.eval()(x)).all()
        layer.unmerge()
        assert layer.get_base_layer() is original
        assert same(state(original), before)


@pytest.mark.parametrize("bits", BITS)
def test_unpacking_gives_plain_layers_of_what_the_packed_ones_hold(
    words: list[str], bits: str
) -> None:
    cfg, model = packed(words, bits)
    plain = load_backbone(cfg.model, build_task(cfg.task), unpacked=True)
    assert load_backbone(cfg.model, build_task(cfg.task)).fingerprint == plain.fingerprint
    linears = [n for n, m in model.named_modules() if type(m).__module__.startswith("bitsandbytes")]
    assert len(linears) == 2 * 6
    for name in linears:
        unpacked = plain.model.get_submodule(name)
        assert type(unpacked) is nn.Linear
        assert torch.allclose(unpacked.weight, base_weight(model.get_submodule(name)), atol=1e-7)
    assert type(model.get_submodule("classifier")) is nn.Linear


@pytest.mark.feature("4 bit", refused=PLAIN_ONLY)
@pytest.mark.parametrize("adapter", CHOICES["adapter"])
def test_each_adapter_trains_on_packed_weights_or_is_refused(
    words: list[str], adapter: str
) -> None:
    cfg = small_runs.composed([*words, "model.quantization=4bit", f"adapter={adapter}"])
    assert cfg.adapter.takes_packed == (adapter not in PLAIN_ONLY)
    if adapter in PLAIN_ONLY:
        with pytest.raises(GoftError, match=f"adapter={adapter} needs plain weights"):
            check_quantization(cfg)
        return
    check_quantization(cfg)
    task, head = build_task(cfg.task), cfg.model.head_modules or []
    plain_model = replace(cfg.model, quantization=None)
    model, plain = (
        attach_adapter(load_backbone(found, task), cfg.adapter, head, task.auto_class, updates=10)
        for found in (cfg.model, plain_model)
    )
    assert count_parameters(model, head).adapter == count_parameters(plain, head).adapter
    assert count_adapted_layers(model) == count_adapted_layers(plain)
    frozen = {
        name: p.detach().clone()
        for name, p in model.named_parameters()
        if not p.is_floating_point()
    }
    losses = descend(model.eval())
    assert losses[-1] < losses[0]
    assert len(frozen) == 2 * 6
    assert all(torch.equal(model.get_parameter(name), before) for name, before in frozen.items())


def descend(model: nn.Module) -> list[float]:
    """Return the losses of four training steps on one row."""
    batch = {"input_ids": torch.tensor([[2, 5, 7, 3]]), "labels": torch.tensor([1])}
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    losses = []
    for _ in range(4):
        loss = model(**batch).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize("bits", BITS)
def test_a_run_trains_verifies_and_merges_into_plain_weights(
    words: list[str], bits: str, tmp_path: Path
) -> None:
    more = ["adapter=qgoft", f"model.quantization={bits}", f"output_dir={tmp_path / 'run'}"]
    folder = RunFolder(pipeline.run(small_runs.composed([*words, *more])))
    metrics = json.loads(folder.metrics.read_text())
    assert metrics["agreement"]["reloaded"] == 0.0
    assert metrics["agreement"]["merged"] <= metrics["agreement"]["tolerance"]
    evaluate(EvalConfig(adapter=str(folder.path), merged=True))
    again = json.loads((folder.path / "eval.json").read_text())["metrics"]
    if bits == "4bit":  # 8bit rounds activations, which may change the scores
        assert again == metrics["metrics"]
    merge(MergeConfig(adapter=str(folder.path), output_dir=str(tmp_path / "merged")))
    plain = AutoModelForSequenceClassification.from_pretrained(tmp_path / "merged")
    assert not hasattr(plain.config, "quantization_config")
    assert all(p.is_floating_point() for p in plain.parameters())
    packed_again = tmp_path / "packed"
    form = Quantization[bits]
    merge(MergeConfig(adapter=str(folder.path), output_dir=str(packed_again), quantization=form))
    report = json.loads((packed_again / "merge_report.json").read_text())
    assert 0 < report["outputs"]["largest"] < 1
    loaded = AutoModelForSequenceClassification.from_pretrained(packed_again)
    assert sum(not p.is_floating_point() for p in loaded.parameters()) == 2 * 6


@pytest.mark.slow
@pytest.mark.parametrize("bits", BITS)
def test_a_model_stored_quantized_trains_and_is_merged_into_a_plain_one(
    words: list[str], bits: str, tmp_path: Path
) -> None:
    base = tmp_path / "base"
    cfg, model = packed(words, bits)
    model.save_pretrained(base)
    load_backbone(cfg.model, build_task(cfg.task)).processor.save_pretrained(base)
    more = [f"model.path={base}", f"model.quantization={bits}", f"output_dir={tmp_path / 'run'}"]
    run = pipeline.run(small_runs.composed([*words, *more, "trainer.max_steps=2"]))
    merge(MergeConfig(adapter=str(run), output_dir=str(tmp_path / "merged")))
    plain = AutoModelForSequenceClassification.from_pretrained(tmp_path / "merged")
    assert all(p.is_floating_point() for p in plain.parameters())


@pytest.mark.parametrize("bits", BITS)
def test_a_plain_run_is_merged_and_packed_at_widths_that_no_block_divides(
    trained: Path, bits: str, tmp_path: Path
) -> None:
    target = tmp_path / "packed"
    form = Quantization[bits]
    merge(MergeConfig(adapter=str(trained), output_dir=str(target), quantization=form))
    assert 0 < json.loads((target / "merge_report.json").read_text())["outputs"]["largest"] < 1


def test_without_the_package_a_sentence_says_what_to_install(
    words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    cfg = small_runs.composed([*words, "model.quantization=8bit"])
    monkeypatch.setattr("goft_cli.config.model.find_spec", lambda name: None)
    with pytest.raises(
        GoftError,
        match=r"model\.quantization=8bit.*goft-cli\[quant\]",
    ):
        check_quantization(cfg)


def test_a_copy_of_a_packed_layer_shares_nothing(words: list[str]) -> None:
    layer = turned(packed(words, "4bit")[1], "goft")[0]
    twin = copy.deepcopy(layer)
    twin.merge()
    assert not same(state(twin.get_base_layer()), state(layer.get_base_layer()))
