"""`goft merge undo=true` restores the base model up to rounding, or refuses."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import nn
from transformers.pytorch_utils import Conv1D

from goft_cli.config import MergeConfig
from goft_cli.run.folder import RunFolder
from goft_cli.run.record import RunRecord
from goft_cli.system.errors import GoftError
from goft_cli.tuner import GoftConfig, GoftLayer
from goft_cli.tuner.config import Method
from goft_cli.verbs.merge import merge
from goft_cli.verbs.merge.certificate import exported_sha256
from goft_cli.verbs.merge.undo import check_merged, turned_back

WEIGHTS = "model.safetensors"


@given(
    width=st.integers(1, 70),
    method=st.sampled_from(["goft", "qgoft"]),
    scale=st.booleans(),
    kind=st.sampled_from([nn.Linear, Conv1D]),
    dtype=st.sampled_from([torch.float32, torch.bfloat16, torch.float16]),
)
@settings(max_examples=40)
def test_turning_back_gives_the_base_up_to_rounding(
    width: int, method: Method, scale: bool, kind: type, dtype: torch.dtype
) -> None:
    base = kind(width, 4) if kind is nn.Linear else kind(4, width)
    layer = GoftLayer(base.to(dtype), "default", GoftConfig(method=method, scale=scale))
    for parameter in [layer.goft_rotation["default"], *layer.goft_scale.values()]:
        parameter.data += 0.1 * torch.randn_like(parameter).clamp(-3, 3)
    merged = type(base)(width, 4) if kind is nn.Linear else kind(4, width)
    merged = merged.to(dtype)
    before = base.get_parameter("weight").detach().clone()
    layer.merge()
    merged.weight.data.copy_(base.get_parameter("weight"))
    layer.unmerge()
    found = turned_back("layer", layer, merged)
    assert found.difference <= found.allowed
    rows = before if kind is nn.Linear else before.T
    after = merged.weight if kind is nn.Linear else merged.weight.T
    unit = torch.finfo(dtype).eps * rows.double().norm(dim=1, keepdim=True)
    largest = ((after.double() - rows.double()).abs() / unit).max().item()
    assert found.difference == pytest.approx(largest, rel=1e-6)
    if method == "goft" and not scale:
        # half a rounding of the merged row, spread over its entries, and half of the last one;
        # in float32 the roundings of the merge's stages are added
        stages = len(f"{width - 1:b}") if dtype == torch.float32 else 0.1
        assert found.difference <= 1 + stages


@pytest.mark.parametrize("part", ["block", "scale"])
def test_a_singular_adapter_is_refused(part: str) -> None:
    layer = GoftLayer(nn.Linear(4, 2), "default", GoftConfig(method="qgoft", scale=True))
    if part == "block":
        layer.goft_rotation["default"].data[1] = torch.tensor([[1.0, 2.0], [0.5, 1.0]])
    else:
        layer.goft_scale["default"].data[2] = 0
    with pytest.raises(GoftError, match=r"layer encoder\.q: a block or a factor .* singular"):
        turned_back("encoder.q", layer, nn.Linear(4, 2))


@pytest.fixture(scope="module")
def merged(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("merged") / "m"
    merge(MergeConfig(adapter=str(trained), output_dir=str(folder), samples=0))
    return folder


def undo(trained: Path, merged: Path, target: Path, **more: Any) -> Path:  # noqa: ANN401
    places = {"merged_dir": str(merged), "output_dir": str(target)}
    merge(MergeConfig(adapter=str(trained), undo=True, **places, **more))
    return target


def test_the_base_comes_out_of_a_merged_run_with_the_head_as_trained(
    trained: Path, merged: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = undo(trained, merged, tmp_path / "base")
    assert "up to rounding, not bit for bit" in " ".join(capsys.readouterr().out.split())
    report = json.loads((target / "undo_report.json").read_text())
    base, before = load_file(trained.parent / "model" / WEIGHTS), load_file(merged / WEIGHTS)
    found = load_file(target / WEIGHTS)
    assert found.keys() == before.keys()
    assert report["head"] == ["pooler", "classifier"]
    assert len(report["layers"]) == 12
    for name, tensor in found.items():
        layer = name.removesuffix(".weight")
        if any(part in name for part in report["head"]):
            assert torch.equal(tensor, before[name])
        elif layer in report["layers"]:
            assert not torch.equal(tensor, before[name])
            unit = torch.finfo(torch.float32).eps * base[name].norm(dim=1, keepdim=True)
            allowed = report["layers"][layer]["allowed"]
            assert ((tensor - base[name]).abs() <= allowed * unit).all()
        else:
            assert torch.equal(tensor, base[name])
    assert report["sha256"]["exported"][WEIGHTS] != report["sha256"]["merged"][WEIGHTS]


def changed(folder: Path, merged: Path, **report: Any) -> Path:  # noqa: ANN401 - of any section
    """Return a copy of a merged folder with these digests in its certificate."""
    shutil.copytree(merged, folder)
    found = json.loads((folder / "merge_report.json").read_text())
    found["sha256"] |= report
    (folder / "merge_report.json").write_text(json.dumps(found))
    return folder


def test_a_folder_that_this_adapter_was_not_merged_into_is_refused(
    trained: Path, merged: Path, tmp_path: Path
) -> None:
    run = RunRecord(RunFolder(trained))
    with pytest.raises(GoftError, match=r"no merge_report\.json there"):
        check_merged(trained.parent / "model", run)
    other = changed(tmp_path / "other", merged, adapter={"adapter_model.safetensors": "0"})
    with pytest.raises(GoftError, match="names another adapter than that of"):
        check_merged(other, run)
    report = json.loads((other / "merge_report.json").read_text())
    for damage in ({"sha256": "text"}, {"run": "text"}):
        (other / "merge_report.json").write_text(json.dumps(report | damage))
        with pytest.raises(GoftError, match=r"damaged; merge again"):
            check_merged(other, run)
    edited = changed(tmp_path / "edited", merged)
    (edited / "config.json").write_text((edited / "config.json").read_text() + "\n")
    with pytest.raises(GoftError, match="no longer those"):
        check_merged(edited, run)
    config = json.loads((edited / "config.json").read_text())
    packed = {**config, "quantization_config": {"load_in_4bit": True}}
    (edited / "config.json").write_text(json.dumps(packed))
    with pytest.raises(GoftError, match=r"quantized.* merge again without quantization"):
        check_merged(edited, run)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("bert.encoder.layer.0.output.dense.weight", "layer .*output.dense comes out .* roundings"),
        pytest.param(
            "bert.embeddings.word_embeddings.weight",
            "word_embeddings.weight is not the base",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_weights_that_come_out_as_another_model_are_refused(
    name: str, message: str, trained: Path, merged: Path, tmp_path: Path
) -> None:
    folder = changed(tmp_path / "m", merged)
    tensors = load_file(folder / WEIGHTS)
    tensors[name][0, 0] += 1e-3
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
    sha256 = {"exported": exported_sha256(folder)}
    report = json.loads((folder / "merge_report.json").read_text())
    report["sha256"] |= sha256
    (folder / "merge_report.json").write_text(json.dumps(report))
    with pytest.raises(GoftError, match=message):
        undo(trained, folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_options_that_undo_does_not_take_are_refused() -> None:
    with pytest.raises(GoftError, match="found as_lora, tolerance too"):
        MergeConfig(adapter="x", undo=True, as_lora=2, tolerance=1)
    with pytest.raises(GoftError, match="only undo=true reads merged_dir"):
        MergeConfig(adapter="x", merged_dir="x")


@pytest.mark.slow
def test_a_merge_of_half_the_strength_in_bfloat16_is_undone(trained: Path, tmp_path: Path) -> None:
    from goft_cli.config import Dtype

    run = shutil.copytree(trained, tmp_path / "run")
    words: dict[str, Any] = {"adapter": str(run), "strength": 0.5}
    merge(MergeConfig(**words, samples=0, dtype=Dtype.bfloat16))
    merge(MergeConfig(**words, undo=True))
    report = json.loads((run / "unmerged-0.5" / "undo_report.json").read_text())
    assert (report["run"]["strength"], report["dtype"]) == (0.5, "bfloat16")
    assert all(one["difference"] <= 2 for one in report["layers"].values())
