"""`goft eval`, `predict` and `merge` on one small finished run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from goft_cli import pipeline
from goft_cli.commands.eval import evaluate
from goft_cli.commands.merge import merge
from goft_cli.commands.predict import predict
from goft_cli.config import EvalConfig, MergeConfig, PredictConfig
from goft_cli.errors import GoftError
from tests import small

SENTENCE = "the dog not runs ."


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("trained")
    model, data = small.write_model(root / "model"), small.write_data(root / "data")
    words = small.overrides(
        model, data, root / "run", "adapter=qgoft", "trainer.learning_rate=0.02"
    )
    return pipeline.run(small.composed(words))


def scores(path: Path) -> dict[str, dict[str, float]]:
    return json.loads(path.read_text())["metrics"]


@pytest.mark.parametrize("merged", [False, True])
@pytest.mark.parametrize("where", ["", "adapter"])
def test_eval_finds_the_scores_of_the_run_again(
    merged: bool, where: str, trained: Path, tmp_path: Path
) -> None:
    output = tmp_path / "eval.json"
    evaluate(EvalConfig(adapter=str(trained / where), merged=merged, output=str(output)))
    assert scores(output) == scores(trained / "metrics.json")


def test_eval_on_other_data_needs_only_the_evaluation_split(trained: Path, tmp_path: Path) -> None:
    data = small.write_data(tmp_path / "data", rows=12)
    (data / "train.tsv").unlink()
    output = tmp_path / "eval.json"
    evaluate(EvalConfig(adapter=str(trained), data_dir=str(data), output=str(output)))
    assert list(json.loads(output.read_text())["data"]["sha256"]) == ["dev.tsv"]


def test_predict_agrees_with_the_predictions_of_the_run(trained: Path, tmp_path: Path) -> None:
    rows = (trained / "predictions.validation.jsonl").read_text().splitlines()
    source, output = tmp_path / "new.jsonl", tmp_path / "out.jsonl"
    source.write_text(
        "".join(json.dumps({"sentence": json.loads(r)["sentence"]}) + "\n" for r in rows)
    )
    predict(PredictConfig(adapter=str(trained), input=str(source), output=str(output)))
    new = [json.loads(line)["prediction"] for line in output.read_text().splitlines()]
    old = [json.loads(line)["prediction"] for line in rows]
    assert [row["label"] for row in new] == [row["label"] for row in old]
    assert [row["score"] for row in new] == pytest.approx([row["score"] for row in old], abs=1e-5)
    with pytest.raises(GoftError, match=r"already there.*overwrite=true"):
        predict(PredictConfig(adapter=str(trained), input=str(source), output=str(output)))


def test_predict_one_text(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    predict(PredictConfig(adapter=str(trained), text=SENTENCE))
    answer = json.loads(capsys.readouterr().out)
    assert answer["sentence"] == SENTENCE
    assert answer["prediction"]["label"] in {"acceptable", "unacceptable"}


def test_merged_folder_opens_in_plain_transformers_and_agrees(
    trained: Path, tmp_path: Path
) -> None:
    merge(MergeConfig(adapter=str(trained), output_dir=str(tmp_path / "merged")))
    rows = [
        json.loads(r) for r in (trained / "predictions.validation.jsonl").read_text().splitlines()
    ]
    script = f"""
import json, sys, torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer
model = AutoModelForSequenceClassification.from_pretrained({str(tmp_path / "merged")!r})
tokenizer = AutoTokenizer.from_pretrained({str(tmp_path / "merged")!r})
inputs = tokenizer({[row["sentence"] for row in rows]!r}, padding=True, return_tensors="pt")
with torch.no_grad():
    scores = model(**inputs).logits.softmax(-1).max(-1)
assert not any(name.startswith(("goft", "peft")) for name in sys.modules)
labels = [model.config.id2label[index] for index in scores.indices.tolist()]
print(json.dumps([labels, scores.values.tolist()]))
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    labels, values = json.loads(done.stdout.splitlines()[-1])
    assert labels == [row["prediction"]["label"] for row in rows]
    assert values == pytest.approx([row["prediction"]["score"] for row in rows], abs=1e-5)
    with pytest.raises(GoftError, match="already there and not empty"):
        merge(MergeConfig(adapter=str(trained), output_dir=str(tmp_path / "merged")))


def test_another_base_model_is_refused(trained: Path, tmp_path: Path) -> None:
    other = small.write_model(tmp_path / "other", seed=1)
    with pytest.raises(GoftError, match=r"trained on other weights than .*base_model=PATH"):
        evaluate(EvalConfig(adapter=str(trained), base_model=str(other)))
    wider = small.write_model(tmp_path / "wider", width=32)
    with pytest.raises(GoftError, match="trained on other weights"):
        merge(
            MergeConfig(adapter=str(trained), base_model=str(wider), output_dir=str(tmp_path / "m"))
        )
    assert not (tmp_path / "m").exists()


def test_predict_takes_exactly_one_source() -> None:
    with pytest.raises(GoftError, match="found neither of input and text"):
        PredictConfig(adapter="x")
    with pytest.raises(GoftError, match="found both of input and text"):
        PredictConfig(adapter="x", input="a", text="b")
