"""The benchmark of memory fills its table, on a model of one tiny block."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from transformers import LlamaConfig

from scripts import bench_memory
from scripts.benchmarks.shapes import SHAPES

pytest.importorskip("bitsandbytes")


def tiny(blocks: int) -> LlamaConfig:
    return LlamaConfig(
        vocab_size=30_000,
        hidden_size=64,
        intermediate_size=64,
        num_hidden_layers=blocks,
        num_attention_heads=2,
        num_key_value_heads=2,
    )


def test_every_cell_is_measured_as_a_child_would(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SHAPES, "llama2-7b", replace(SHAPES["llama2-7b"], configure=tiny))
    asked: list[list[str]] = []

    def here(command: list[str]) -> int:
        asked.append(command)
        return bench_memory.peak(bench_memory.parse(command[1:]))

    monkeypatch.setattr(bench_memory, "peak_in_child", here)
    words = ["--blocks", "1", "--length", "4", "--device", "cpu", "--output", str(tmp_path)]
    bench_memory.main(words)
    found = json.loads((tmp_path / "memory-llama2-7b-1.json").read_text())["rows"]
    assert [(row["weights"], row["activations"]) for row in found] == [
        tuple(command[-2:]) for command in asked
    ]
    assert len(found) == 2 * len(bench_memory.PRECISIONS)
    assert all(row["bytes"] > 2**20 for row in found)
