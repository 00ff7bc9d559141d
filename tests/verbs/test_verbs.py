"""`goft eval` and `predict` repeat a run's scores and predictions, and refuse other weights."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from goft_cli.config import EvalConfig, MergeConfig, PredictConfig
from goft_cli.system.errors import GoftError
from goft_cli.verbs.eval import evaluate
from goft_cli.verbs.merge import merge
from goft_cli.verbs.predict import predict
from tests.support import small_runs

SENTENCE = "the dog not runs ."


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
    data = small_runs.write_data(tmp_path / "data", rows=12)
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


def test_another_base_model_is_refused(trained: Path, tmp_path: Path) -> None:
    other = small_runs.write_model(tmp_path / "other", seed=1)
    with pytest.raises(GoftError, match=r"base_model=PATH"):
        evaluate(EvalConfig(adapter=str(trained), base_model=str(other)))
    wider = small_runs.write_model(tmp_path / "wider", width=32)
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
