"""The benchmark of the kernels, on a GPU that is not there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from scripts import bench_kernel
from scripts.benchmarks.timing import Samples

pytest.importorskip("triton", reason="the fused kernels need Triton")


def test_without_a_gpu_it_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert bench_kernel.main([]) == 2
    assert "found no CUDA device" in capsys.readouterr().out


def test_a_whole_benchmark_interpreted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bench_kernel, "DEVICE", torch.device("cpu"))
    monkeypatch.setattr(bench_kernel, "repeated", lambda call: call)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "a pretended GPU")
    target = tmp_path / "new" / "kernel.json"
    words = ["--sizes", "2x12", "--rounds", "1", "--output", str(target)]
    assert bench_kernel.main(words) == 0
    found = json.loads(target.read_text(encoding="utf-8"))
    passes = ["copy", "forward strict", "backward strict", "forward quasi", "backward quasi"]
    assert [row["case"] for row in found["kernels"]] == 2 * passes
    assert [row["case"] for row in found["layers"]] == 2 * ["frozen", *bench_kernel.ADAPTERS]
    said = capsys.readouterr().out
    assert "kernels, a pretended GPU" in said
    assert "layers, a pretended GPU" in said


def test_bandwidth_counts_each_tensor_once_per_call() -> None:
    seconds = {"copy": 2.0, "forward strict": 2.0, "backward strict": 6.0}
    samples = {name: Samples((value * bench_kernel.CALLS,)) for name, value in seconds.items()}
    copy, forward, backward = bench_kernel.rates(samples, size=10**9)
    assert copy["GB/s"] == forward["GB/s"] == 1
    assert forward["of copy"] == 1
    assert backward["of copy"] == 0.5


def test_overhead_is_over_the_frozen_layer_and_beside_lora() -> None:
    seconds = {"frozen": 1.0, "lora r=8": 3.0, "lora r=16": 5.0, "goft": 2.0}
    samples = {name: Samples((value,)) for name, value in seconds.items()}
    goft = bench_kernel.overheads(samples)[-1]
    assert goft["over frozen us"] == 1e6
    assert (goft["of lora r=8"], goft["of lora r=16"]) == (0.5, 0.25)
