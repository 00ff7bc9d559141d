"""Test that the benchmark of adapters measures what it reports, on a model of two blocks."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import BertConfig

from scripts import bench_adapters
from scripts.benchmarks import memory
from scripts.benchmarks.shapes import SHAPES, Shape, build, sentences
from scripts.benchmarks.training import (
    FROZEN,
    REFERENCE,
    SEPARABLE,
    VARIANTS,
    Workbench,
    compose_words,
)

NAMES = [FROZEN, REFERENCE, "goft", "qgoft"]

AUTHORS = """
from torch import nn

class Linear(nn.Module):
    def __init__(self, base_layer, adapter_name, strict_oft, no_scaling):
        super().__init__()
        self.base_layer = base_layer
        pairs = base_layer.in_features - 1
        self.givens = nn.Parameter(base_layer.weight.new_zeros(pairs if strict_oft else 4 * pairs))

    def forward(self, x):
        return self.base_layer(x) + self.givens.sum()
"""


def tiny(blocks: int) -> BertConfig:
    return BertConfig(
        vocab_size=30_000,
        hidden_size=16,
        num_hidden_layers=blocks,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=32,
    )


SHAPE = Shape("minilm-l6", "AutoModelForSequenceClassification", 2, tiny, sentences)


@pytest.fixture
def bench() -> Workbench:
    base = build(SHAPE, 2, torch.float32, torch.device("cpu")).requires_grad_(False)
    return Workbench(base, SHAPE, sentences(2, 8))


@pytest.mark.slow
def test_a_whole_benchmark_with_the_authors_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(SHAPES, "tiny", SHAPE)
    monkeypatch.setattr(bench_adapters, "peak_in_child", lambda words: 2**20 * len(words[-1]))
    layer = tmp_path / "tuners" / "givens" / "layer.py"
    layer.parent.mkdir(parents=True)
    layer.write_text(AUTHORS)
    names = [*NAMES, "authors' goft", "authors' qgoft"]
    size = ["--shape", "tiny", "--blocks", "2", "--batch", "2", "--length", "8", "--rounds", "2"]
    size += ["--forward-rounds", "2"]
    paths = ["--authors", str(tmp_path), "--output", str(tmp_path)]
    bench_adapters.main([*size, *paths, "--device", "cpu", "--only", *names])
    found = json.loads((tmp_path / "adapters-tiny-2.json").read_text())
    assert [row["name"] for row in found["steps"]] == names
    pairs = 2 * (5 * 15 + 31)
    sizes = {row["name"]: row["trainable"] for row in found["steps"]}
    assert sizes[FROZEN] == 0
    assert sizes["goft"] == sizes["authors' goft"] == pairs
    assert sizes["qgoft"] == sizes["authors' qgoft"] == 4 * pairs
    assert [row["name"] for row in found["layers"]] == NAMES[1:]
    passes = [row["name"] for row in found["forwards"]]
    merged = [name for one in NAMES[1:] for name in (one, f"{one}, merged")]
    assert passes == ["base model", *merged]
    assert all(0 < row["low"] <= row["median"] <= row["high"] for row in found["steps"])
    assert "ratio to lora r=8" in capsys.readouterr().out


def test_a_folder_without_the_authors_code_is_named(bench: Workbench, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=f"--authors {tmp_path}.*layer.py"):
        replace(bench, authors=tmp_path).candidate("authors' goft")


@pytest.mark.parametrize("name", [REFERENCE, "goft", "qgoft"])
def test_a_step_trains_the_adapter_and_leaves_the_shared_weights(
    bench: Workbench, name: str
) -> None:
    before = {key: value.clone() for key, value in bench.base.state_dict().items()}
    one = bench.candidate(name)
    start = {key: p.clone() for key, p in one.model.named_parameters() if p.requires_grad}
    one.step()
    one.step()  # the first step changes only one of LoRA's two factors
    moved = dict(one.model.named_parameters())
    assert not any(
        torch.equal(moved[key], value) for key, value in start.items() if "bias" not in key
    )
    after = bench.base.state_dict()
    assert all(torch.equal(after[key], value) for key, value in before.items())
    shared = {p.data_ptr() for p in bench.base.parameters()}
    backbone = [p for p in one.model.parameters() if not p.requires_grad]
    assert {p.data_ptr() for p in backbone} <= shared


@pytest.mark.parametrize("name", SEPARABLE)
def test_a_layer_is_timed_with_all_gradients_but_without_its_weight(
    bench: Workbench, name: str
) -> None:
    gradients = bench.layer(name, tokens=3)()
    assert isinstance(gradients, tuple)
    assert gradients[0].shape == (3, 16)
    assert len(gradients) > 1
    assert all(gradient is not None for gradient in gradients)


def test_gradients_flow_through_the_frozen_model(bench: Workbench) -> None:
    model = bench.candidate(FROZEN).model
    assert model(**bench.batch).loss.requires_grad
    assert not any(p.requires_grad for p in model.parameters())


def test_peaks_come_from_a_process_of_their_own(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text("import sys\nprint('noise')\nprint(sys.argv[1])\n")
    assert memory.peak_in_child([str(program), "12345"]) == 12345
    assert memory.resident_peak() > 2**20


@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_composes_to_an_adapter(name: str) -> None:
    cfg = compose_words(VARIANTS[name], SHAPE.model)
    assert VARIANTS[name].split()[0] == f"adapter={cfg.adapter.name}"
