"""A run stores the layer measurements of a report; they are not used if a file has changed."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from torch import nn

from goft_cli.run import layers, pipeline
from goft_cli.run.folder import RunFolder
from goft_cli.run.layers import LayerReport
from goft_cli.run.record import RunRecord
from goft_cli.run.trained import open_trained
from goft_cli.tuner import geometry
from goft_cli.verbs.report.gather import measured_layers, recorded_layers
from tests.support import small_runs

TRAINED = ["trainer.num_train_epochs=1", "trainer.max_steps=2"]


def plain(found: list[LayerReport] | None) -> list[dict[str, object]]:
    assert found is not None
    return [vars(one) | {"angles": one.angles.tolist()} for one in found]


@pytest.fixture
def copy(trained: Path, tmp_path: Path) -> RunRecord:
    return RunRecord(small_runs.copied(trained, tmp_path / "ground").run)


def test_a_run_keeps_what_would_be_measured(trained: Path) -> None:
    kept = recorded_layers(RunRecord(RunFolder(trained)))
    assert plain(kept) == plain(measured_layers(open_trained(str(trained), base_model=None)))
    assert kept is not None
    assert all(len(one.angles) == sum(one.stages) > 0 for one in kept)


@pytest.mark.parametrize("adapter", ["lora", "linear"])
def test_another_adapter_turns_no_pairs(adapter: str, tmp_path: Path) -> None:
    model = small_runs.write_model(tmp_path / "model")
    data = small_runs.write_data(tmp_path / "data")
    words = [f"adapter={adapter}", *TRAINED]
    run = pipeline.run(
        small_runs.composed(small_runs.overrides(model, data, tmp_path / "r", *words))
    )
    kept = recorded_layers(RunRecord(RunFolder(run)))
    assert kept is not None
    assert bool(kept) is (adapter == "lora")
    assert plain(kept) == plain(measured_layers(open_trained(str(run), base_model=None)))
    assert layers.by_stage(kept) == {}


def test_measurements_of_weights_that_changed_are_not_used(copy: RunRecord) -> None:
    file = copy.folder.adapter / "adapter_model.safetensors"
    tensors = load_file(file)
    save_file({name: tensor + 1 for name, tensor in tensors.items()}, file)
    assert recorded_layers(copy) is None


def test_measurements_on_a_base_that_changed_or_is_gone_are_not_used(copy: RunRecord) -> None:
    base = copy.folder.path.parent / "model"
    (base / "config.json").write_text("{}")
    assert recorded_layers(copy) is None
    shutil.rmtree(base)
    assert recorded_layers(copy) is None


@pytest.mark.parametrize("content", [b"", b"no tensors", None])
def test_a_damaged_file_counts_as_none(copy: RunRecord, content: bytes | None) -> None:
    file = copy.folder.path / layers.NAME
    if content is None:
        save_file({"x": np.zeros(3)}, file, {"layers": json.dumps([{"name": "y"}])})
    else:
        file.write_bytes(content)
    assert recorded_layers(copy) is None
    file.unlink()
    assert recorded_layers(copy) is None


def test_what_is_written_is_read(tmp_path: Path) -> None:
    one = LayerReport(
        "a.1.b",
        [2, 1],
        1e-7,
        0.5,
        3.0,
        0.9,
        1.1,
        2.0,
        float("inf"),
        np.array([1, 2, 3], np.float32),
    )
    two = replace(one, name="c", stages=[], angles=np.empty(0, np.float32))
    for given in ([one, two], []):
        layers.write(tmp_path, given)
        assert plain(layers.read(tmp_path)) == plain(given)
    assert (one.depth, one.kind, two.depth) == (1, "b", None)
    degrees = np.rad2deg([1, 2, 3])
    expected = {1: degrees[:2].mean(), 2: degrees[2]}
    assert layers.by_stage([one, two]) == pytest.approx(expected, rel=1e-6)


def test_measuring_is_left_out_where_it_would_take_long(monkeypatch: pytest.MonkeyPatch) -> None:
    def of(rows: int, columns: int, device: str = "cpu") -> dict[str, torch.Tensor]:
        return {"layer": torch.empty(rows, columns, device=device)}

    for weights, seconds, quick in [
        (of(768, 768), 0.0, True),
        (of(4096, 4096), 0.0, False),  # measured: eight seconds, twice
        (of(4096, 4096), 3600.0, True),
        (of(4096, 4096, "meta"), 0.0, True),  # meta stands for an accelerator
        ({}, 0.0, True),
    ]:
        monkeypatch.setattr(geometry, "adapted_weights", lambda _, found=weights: found)
        assert layers.is_quick(nn.Module(), seconds) is quick
