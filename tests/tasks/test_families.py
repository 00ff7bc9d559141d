"""GLUE's tasks of sentence pairs, of regression and of two splits train and report scores."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from goft_cli.run import pipeline
from goft_cli.run.folder import RunFolder
from tests.support import small_runs

PAIR = "the dog runs .\tthe cat sleeps ."


def write_pairs(folder: Path, splits: dict[str, int], header: str, targets: list[str]) -> Path:
    folder.mkdir()
    for name, count in splits.items():
        rows = [f"{PAIR}\t{targets[index % len(targets)]}" for index in range(count)]
        (folder / f"{name}.tsv").write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return folder


def start(tmp_path: Path, data: Path, *words: str) -> RunFolder:
    model = small_runs.write_model(tmp_path / "model")
    base = small_runs.overrides(model, data, tmp_path / "run", "trainer.num_train_epochs=1")
    return RunFolder(pipeline.run(small_runs.composed([*base, *words])))


def test_regression_reports_correlations_and_values(tmp_path: Path) -> None:
    header = "sentence1\tsentence2\tlabel"
    data = write_pairs(tmp_path / "data", {"train": 16, "dev": 8}, header, ["0.0", "2.5", "5.0"])
    run = start(tmp_path, data, "task=glue/stsb")
    metrics = json.loads(run.metrics.read_text())
    assert metrics["headline"]["name"] == "combined_score"
    assert {"pearson", "spearman"} <= metrics["metrics"]["validation"].keys()
    lines = (run.path / "predictions.validation.jsonl").read_text().splitlines()
    assert set(json.loads(lines[0])["prediction"]) == {"value"}


def test_mnli_scores_both_splits_and_reports_the_mismatched_one(tmp_path: Path) -> None:
    header = "premise\thypothesis\tlabel"
    splits = {"train": 16, "dev_matched": 6, "dev_mismatched": 9}
    names = ["entailment", "neutral", "contradiction", "neutral"]
    data = write_pairs(tmp_path / "data", splits, header, names)
    run = start(tmp_path, data, "task=glue/mnli")
    metrics = json.loads(run.metrics.read_text())
    scores = metrics["metrics"]
    assert set(scores) == {"validation_matched", "validation_mismatched"}
    assert metrics["headline"]["value"] == scores["validation_mismatched"]["accuracy"]
    counts = {
        name: len((run.path / f"predictions.{name}.jsonl").read_text().splitlines())
        for name in scores
    }
    assert counts == {"validation_matched": 6, "validation_mismatched": 9}


@pytest.mark.slow
@pytest.mark.feature("checkpointing")
@pytest.mark.parametrize("adapter", ["goft", "qgoft"])
def test_gradient_checkpointing_leads_to_the_same_weights(adapter: str, tmp_path: Path) -> None:
    weights = []
    for name in ("false", "true"):
        folder = tmp_path / name
        folder.mkdir()
        data = small_runs.write_data(folder / "data")
        words = [f"adapter={adapter}", f"trainer.gradient_checkpointing={name}"]
        run = start(folder, data, *words)
        weights.append(load_file(run.adapter / "adapter_model.safetensors"))
    for key, tensor in weights[0].items():
        torch.testing.assert_close(weights[1][key], tensor, rtol=1e-5, atol=1e-6)
