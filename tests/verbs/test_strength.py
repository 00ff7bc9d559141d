"""Verbs with `strength=` use and report the adapter at it, and leave the adapter's file alone."""

from __future__ import annotations

import json
import re
import shutil
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import goft_cli
from goft_cli.config import (
    BitFitConfig,
    EvalConfig,
    MergeConfig,
    PredictConfig,
    PushConfig,
    VerifyConfig,
)
from goft_cli.run import pipeline
from goft_cli.run.configuration import config_sha256, read_config, write_config
from goft_cli.run.folder import RunFolder
from goft_cli.system.errors import GoftError
from goft_cli.verbs.eval import evaluate
from goft_cli.verbs.merge import merge
from goft_cli.verbs.predict import predict
from goft_cli.verbs.push import check_strength, push
from goft_cli.verbs.verify import verify
from tests.support import small_runs
from tests.support.hub_server import Hub

TEXT = "the dog runs ."


def read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text())


def share(model: torch.nn.Module, processor: Any) -> float:  # noqa: ANN401 - a tokenizer
    with torch.no_grad():
        return float(model(**processor(TEXT, return_tensors="pt")).logits.softmax(-1).max())


@pytest.fixture
def copied(trained: Path, tmp_path: Path) -> Path:
    """Return a copy of the run, which a test may write to."""
    return Path(shutil.copytree(trained, tmp_path / "run"))


def test_a_merged_fraction_has_its_folder_and_its_certificate(
    trained: Path, copied: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    adapter = (copied / "adapter" / "adapter_model.safetensors").read_bytes()
    for strength in (0, 0.5):
        merge(MergeConfig(adapter=str(copied), strength=strength, samples=8))
    said = capsys.readouterr().out
    assert re.search(r"strength\W+0\.5\b", said)
    found = read(copied / "merged-0.5" / "merge_report.json")
    assert found["run"]["strength"] == 0.5
    assert found["outputs"]["largest"] <= found["outputs"]["tolerance"]
    card = (copied / "merged-0.5" / "README.md").read_text()
    assert "at strength 0.5" in card
    assert "These are the metrics at strength 1." in card
    base = load_file(trained.parent / "model" / "model.safetensors")
    none = load_file(copied / "merged-0" / "model.safetensors")
    body = [name for name in base if name.startswith("bert.encoder")]
    assert body
    assert all(torch.equal(base[name], none[name]) for name in body)
    assert (copied / "adapter" / "adapter_model.safetensors").read_bytes() == adapter


def test_eval_and_predict_say_the_strength(
    copied: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for strength in (1, 0.25):
        evaluate(EvalConfig(adapter=str(copied), strength=strength))
    whole, part = read(copied / "eval.json"), read(copied / "eval-0.25.json")
    assert (whole["strength"], part["strength"]) == (1, 0.25)
    assert whole["metrics"] == read(copied / "metrics.json")["metrics"]
    assert "at strength 0.25" in capsys.readouterr().out
    rows, output = tmp_path / "rows.txt", tmp_path / "out.jsonl"
    rows.write_text(f"{TEXT}\n")
    options: dict[str, Any] = {"input": str(rows), "output": str(output), "strength": 0.25}
    predict(PredictConfig(adapter=str(copied), **options))
    assert "1 prediction at strength 0.25:" in capsys.readouterr().out
    at = goft_cli.load(copied, strength=0.25)
    score = json.loads(output.read_text())["prediction"]["score"]
    assert score == pytest.approx(share(*at), abs=1e-6)
    assert goft_cli.predict(copied, [TEXT], strength=0.25)[0]["prediction"]["score"] == score
    goft_cli.set_strength(at.model, 1)
    assert share(*at) == share(*goft_cli.load(copied)) != score


@pytest.mark.slow
@pytest.mark.parametrize("form", [{}, {"merged": True}, {"as_lora": 15}], ids=str)
def test_the_card_loads_what_was_pushed_at_its_strength(
    form: dict[str, Any],
    hub: Hub,
    trained: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    push(PushConfig(adapter=str(trained), repo="half", strength=0.5, **form))
    expected = share(*goft_cli.load(trained, strength=0.5))
    hub.write(tmp_path)
    (tmp_path / "model").symlink_to(trained.parent / "model")
    monkeypatch.chdir(tmp_path)
    text = hub.files["me/half"]["README.md"].decode()
    lines = re.search(r"```python\n(.*?)```", text, re.DOTALL)
    assert lines
    assert "at strength 0.5" in text
    assert "model-index" not in text
    assert ("set_strength(model, 0.5)" in lines[1]) == (not form)
    scope: dict[str, Any] = {}
    exec(lines[1], scope)
    assert share(scope["model"], scope["processor"]) == pytest.approx(expected, abs=2e-3)


@pytest.mark.slow
def test_a_run_with_a_strength_trains_as_without_and_is_used_at_it(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, data = trained.parent / "model", trained.parent / "data"
    words = small_runs.overrides(model, data, tmp_path / "run", *small_runs.TRAINED)
    folder = RunFolder(pipeline.run(small_runs.composed([*words, "adapter.strength=0.5"])))
    weights = "adapter_model.safetensors"
    assert (folder.adapter / weights).read_bytes() == (trained / "adapter" / weights).read_bytes()
    assert read(folder.manifest)["strength"] == 0.5
    evaluate(EvalConfig(adapter=str(trained), strength=0.5, output=str(tmp_path / "half.json")))
    assert read(tmp_path / "half.json")["metrics"] == read(folder.metrics)["metrics"]
    evaluate(EvalConfig(adapter=str(folder.path)))
    assert read(folder.path / "eval.json")["strength"] == 0.5
    row = json.loads((folder.path / "predictions.validation.jsonl").read_text().splitlines()[0])
    (again,) = goft_cli.predict(trained, [row["sentence"]], strength=0.5)
    assert again["prediction"]["score"] == pytest.approx(row["prediction"]["score"], abs=1e-6)
    merge(MergeConfig(adapter=str(folder.path), strength=1, samples=4))
    verify(VerifyConfig(adapter=str(folder.path)))
    assert re.search(r"holds\W+merged-1 read again", capsys.readouterr().out)
    words = small_runs.overrides(model, data, tmp_path / "hra", "adapter=hra")
    with pytest.raises(
        GoftError, match=r"^adapter\.strength=0\.5: .*HRA is a .* pass adapter\.strength=1$"
    ):
        pipeline.run(small_runs.composed([*words, "adapter.strength=0.5"]))


def test_a_strength_of_1_makes_no_other_run(trained: Path, tmp_path: Path) -> None:
    cfg = read_config(trained / "config.yaml")
    before = config_sha256(cfg)
    text = (trained / "config.yaml").read_text()
    (tmp_path / "config.yaml").write_text(re.sub(r"\n  strength: 1.0\n", "\n", text))
    earlier = read_config(tmp_path / "config.yaml")
    assert "strength" not in (tmp_path / "config.yaml").read_text()
    assert config_sha256(earlier) == before == read(trained / "metrics.json")["config_sha256"]
    earlier.adapter.strength = 0.5
    write_config(tmp_path / "config.yaml", earlier)
    assert config_sha256(read_config(tmp_path / "config.yaml")) != before


@pytest.mark.parametrize("strength", [1, 0.5])
def test_what_trained_whole_is_pushed_whole_or_merged(strength: float) -> None:
    adapter = BitFitConfig(name="bitfit")
    run: Any = SimpleNamespace(strength=strength, cfg=SimpleNamespace(adapter=adapter))
    check_strength(run, PushConfig(adapter="x", repo="y", merged=True))
    whole = PushConfig(adapter="x", repo="y")
    with nullcontext() if strength == 1 else pytest.raises(GoftError, match="merged=true"):
        check_strength(run, whole)


def test_a_strength_out_of_range_is_refused_in_python_too(trained: Path) -> None:
    with pytest.raises(GoftError, match=r"pass strength=0\.9"):
        goft_cli.load(trained, strength=2)
