"""`goft merge` exports the adapted model with an error report, and refuses a wrong export."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import HRAConfig, LoraConfig, PeftConfig, PeftModel, get_peft_model
from safetensors.torch import load_file
from torch import nn

from goft_cli.config import MergeConfig
from goft_cli.models.adapters import merge as merge_adapter
from goft_cli.system.errors import GoftError
from goft_cli.tuner import GoftConfig
from goft_cli.verbs.merge import export, merge
from goft_cli.verbs.merge.export import lora_of, products, residuals
from tests.support.short_training import adapted, tiny_bert

EPS = torch.finfo(torch.float32).eps


def predictions(run: Path) -> list[dict[str, Any]]:
    lines = (run / "predictions.validation.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def report(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "merge_report.json").read_text())


def snippet(folder: Path) -> str:
    found = re.search(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)
    assert found
    return found[1]


@pytest.fixture(scope="module")
def merged(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("merge") / "deep" / "merged"
    merge(MergeConfig(adapter=str(trained), output_dir=str(folder), samples=10, batch_size=4))
    return folder


@pytest.mark.slow
def test_libraries_agree_in_a_process_without_goft(trained: Path, merged: Path) -> None:
    """Load the merged folder in transformers alone, then the LoRA in PEFT."""
    rows, lora = predictions(trained), merged.parent / "lora"
    merge(MergeConfig(adapter=str(trained), output_dir=str(lora), as_lora=16, samples=0))
    # run the code of each model card, then predict every row of the run's predictions
    script = f"""{snippet(merged)}
import json, sys, torch
texts = {[row["sentence"] for row in rows]!r}
def logits():
    with torch.no_grad():
        return model(**processor(texts, padding=True, return_tensors="pt")).logits
found = logits()
scores = found.softmax(-1).max(-1)
assert not any(name.startswith(("goft", "peft")) for name in sys.modules)
labels = [model.config.id2label[index] for index in scores.indices.tolist()]
{snippet(lora)}
torch.testing.assert_close(logits(), found, rtol=0, atol=1e-4)
assert not any(name.startswith("goft") for name in sys.modules)
print(json.dumps([labels, scores.values.tolist()]))
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=merged.parent
    )
    assert done.returncode == 0, done.stderr
    first, *_, last = done.stdout.splitlines()
    labels, values = json.loads(last)
    assert first in {"acceptable", "unacceptable"}
    assert labels == [row["prediction"]["label"] for row in rows]
    assert values == pytest.approx([row["prediction"]["score"] for row in rows], abs=1e-5)


def test_the_certificate_holds_outputs_and_layers(trained: Path, merged: Path) -> None:
    found = report(merged)
    outputs, layers = found["outputs"], found["layers"]
    assert found["run"]["adapter"] == "qgoft"
    assert outputs["rows"] == {"validation": 10}
    assert 0 <= outputs["mean"] <= outputs["largest"] <= outputs["tolerance"]
    assert outputs["metrics"]["adapter"] == outputs["metrics"]["exported"]
    assert len(layers) == 12
    for layer in layers.values():
        assert layer["residual"] is None
        assert layer["orthogonality_error"] > EPS, "quasi rotations stretch"
        assert layer["largest_angle_degrees"] >= layer["mean_angle_degrees"] > 0
        assert layer["largest_deviation"] > 0
        assert layer["neuron_turn_degrees"] > 0
        assert layer["neuron_norm_change"] > 0
    text = "".join(path.read_text() for path in merged.glob("*.md"))
    text += (merged / "merge_report.json").read_text()
    assert str(trained) not in text, "nothing says where the run lies"


def test_the_card_has_the_scores_of_the_run(trained: Path, merged: Path) -> None:
    scores = json.loads((trained / "metrics.json").read_text())["metrics"]["validation"]
    card = (merged / "README.md").read_text()
    for name, value in scores.items():
        assert f"| validation | {name} | {value:.4f} |" in card
    assert "not known to be, those of a published benchmark" in card
    assert "library_name: transformers" in card


def test_a_folder_that_is_not_the_adapter_is_refused_and_nothing_stays(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def damaging(model: PeftModel) -> nn.Module:
        merged = merge_adapter(model)
        with torch.no_grad():
            merged.get_parameter("bert.encoder.layer.0.output.dense.weight").mul_(2)
        return merged

    monkeypatch.setattr(export, "merge", damaging)
    target = tmp_path / "new" / "merged"
    with pytest.raises(GoftError, match=r"24 rows"):
        merge(MergeConfig(adapter=str(trained), output_dir=str(target)))
    assert list(target.parent.iterdir()) == []
    merge(MergeConfig(adapter=str(trained), output_dir=str(target), tolerance=100))
    assert report(target)["outputs"]["tolerance"] == 100


def test_a_folder_in_use_is_refused(trained: Path, merged: Path) -> None:
    with pytest.raises(GoftError, match="already there and not empty"):
        merge(MergeConfig(adapter=str(trained), output_dir=str(merged)))


def test_without_rows_only_the_layers_are_certified(trained: Path, tmp_path: Path) -> None:
    target = tmp_path / "merged"
    merge(MergeConfig(adapter=str(trained), output_dir=str(target), samples=0))
    assert report(target)["outputs"] is None
    assert len(report(target)["layers"]) == 12


@pytest.mark.parametrize("rank", [16, 2])
def test_as_lora_states_what_the_rank_leaves_out(trained: Path, tmp_path: Path, rank: int) -> None:
    """At full rank outputs equal the adapter's, and the card's code loads the trained head."""
    target = tmp_path / "lora"
    merge(MergeConfig(adapter=str(trained), output_dir=str(target), as_lora=rank))
    found = report(target)
    residual = max(layer["residual"] for layer in found["layers"].values())
    if rank == 2:
        assert residual > 0.1
        return
    assert residual < 64 * EPS  # rounding of the decomposition of matrices of 16 columns
    assert found["outputs"]["largest"] < 1e-4
    scope: dict[str, Any] = {}
    exec(snippet(target), scope)
    lora, adapter = scope["model"], load_file(trained / "adapter" / "adapter_model.safetensors")
    name = "base_model.model.bert.pooler.dense.weight"
    head = lora.get_submodule("base_model.model.bert.pooler").modules_to_save["default"]
    assert torch.equal(head.dense.weight, adapter[name]), "the head comes along"


def test_a_layer_narrower_than_the_rank_is_converted_at_its_full_rank() -> None:
    model = get_peft_model(
        nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 1)),
        GoftConfig(target_modules=["0", "1"], init_weights=False),
    )
    lora, tensors = lora_of(model, 4)
    assert (lora.r, lora.rank_pattern) == (4, {"1": 1})
    assert residuals(model, products(tensors))["1"] < 1e-5
    with pytest.raises(GoftError, match=r"as_lora=9: .*larger"):
        lora_of(model, 9)


def test_layers_that_a_pattern_selects_are_named() -> None:
    pattern = r".*\.1\..*(query|value)"
    model = get_peft_model(tiny_bert(), GoftConfig(target_modules=pattern, init_weights=False))
    lora, tensors = lora_of(model, 2)
    assert lora.target_modules == [*products(tensors)]
    assert [name.rpartition(".")[2] for name in products(tensors)] == ["query", "value"]


def test_a_share_of_the_change_is_a_bound_on_the_residual() -> None:
    model = adapted("qgoft")
    _, tensors = lora_of(model, 0.9)
    found = residuals(model, products(tensors))
    assert found
    assert max(found.values()) <= (1 - 0.9) ** 0.5 + 64 * EPS


@pytest.mark.parametrize(
    ("config", "rank", "sentence"),
    [
        (LoraConfig(target_modules=["query"]), 2, "the adapter is LoRA already"),
        (HRAConfig(r=2, target_modules=["query"]), 2, "PEFT cannot convert HRA"),
        (GoftConfig(target_modules=["query"]), 17, "as_lora=17: .*rank 17 is larger"),
    ],
)
def test_what_cannot_become_lora(config: PeftConfig, rank: int, sentence: str) -> None:
    with pytest.raises(GoftError, match=sentence):
        lora_of(get_peft_model(tiny_bert(), config), rank)


@pytest.mark.parametrize(
    ("key", "value"),
    [("samples", -1), ("tolerance", -1), ("batch_size", 0), ("as_lora", 0), ("as_lora", 1.5)],
)
def test_ranges(key: str, value: float) -> None:
    options: dict[str, Any] = {key: value}
    with pytest.raises(GoftError, match=f"{key}={value} is out of range"):
        MergeConfig(adapter="x", **options)
