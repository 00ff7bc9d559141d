"""A class has the name from the data in the run, its predictions, its exports and on the hub."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from transformers import AutoConfig

from goft_cli.config import EvalConfig, MergeConfig, PredictConfig, PushConfig
from goft_cli.run import pipeline
from goft_cli.run.trained import open_trained
from goft_cli.verbs.eval import evaluate
from goft_cli.verbs.merge import merge
from goft_cli.verbs.predict import predict
from goft_cli.verbs.push import push
from tests.support import small_runs
from tests.support.hub_server import Hub

pytestmark = pytest.mark.slow

OWN = {"0": "Not-OK", "1": "OK"}
"""The data's names of the ids; the task's labels are `not_ok` and `ok`."""
ID2LABEL = {int(key): name for key, name in OWN.items()}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a finished run on data that spells the task's labels in another way."""
    root = tmp_path_factory.mktemp("spelled")
    model, data = small_runs.write_model(root / "model"), small_runs.write_data(root / "data")
    for path in data.glob("*.tsv"):
        header, *rows = path.read_text().splitlines()
        named = [f"{text}\t {OWN[label]}" for text, label in (row.split("\t") for row in rows)]
        path.write_text("\n".join([header, *named]) + "\n")
    words = ["task.labels=[not_ok,ok]", "adapter=goft", "trainer.learning_rate=0.02"]
    return pipeline.run(
        small_runs.composed(small_runs.overrides(model, data, root / "run", *words))
    )


def test_the_run_and_predict_answer_in_it(run: Path, tmp_path: Path) -> None:
    lines = (run / "predictions.validation.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    assert {row["label"] for row in rows} == set(OWN.values())
    right = sum(row["label"] == row["prediction"]["label"] for row in rows) / len(rows)
    scores = json.loads((run / "metrics.json").read_text())["metrics"]["validation"]
    assert right == pytest.approx(scores["accuracy"])

    source, output = run.parent / "data" / "dev.tsv", tmp_path / "out.csv"
    predict(PredictConfig(adapter=str(run), input=str(source), output=str(output)))
    with output.open(newline="") as file:
        answers = [row["prediction.label"] for row in csv.DictReader(file)]
    assert answers == [row["prediction"]["label"] for row in rows]
    assert set(rows[0]["prediction"]["probabilities"]) == set(OWN.values())


def test_the_run_keeps_the_labels_that_it_was_given(run: Path) -> None:
    assert "- not_ok" in (run / "config.yaml").read_text()
    opened = open_trained(str(run), base_model=None)
    assert opened.task.config.labels == list(OWN.values())
    assert opened.model.config.id2label == ID2LABEL


def test_eval_finds_the_scores_again(run: Path, tmp_path: Path) -> None:
    evaluate(EvalConfig(adapter=str(run), output=str(tmp_path / "eval.json")))
    found = json.loads((tmp_path / "eval.json").read_text())["metrics"]
    assert found == json.loads((run / "metrics.json").read_text())["metrics"]


@pytest.mark.parametrize("form", [{}, {"as_lora": 4}], ids=str)
def test_what_is_exported_is_called_so(form: dict[str, float], run: Path, tmp_path: Path) -> None:
    target = tmp_path / "exported"
    merge(MergeConfig(adapter=str(run), output_dir=str(target), samples=4, **form))  # pyright: ignore[reportArgumentType] - a mixed dict
    found = AutoConfig.from_pretrained(target)
    assert found.id2label == ID2LABEL
    assert found.label2id == {name: index for index, name in ID2LABEL.items()}


@pytest.mark.parametrize("form", [{}, {"merged": True}, {"as_lora": 4}], ids=str)
def test_what_is_pushed_is_called_so(form: dict[str, float], run: Path, hub: Hub) -> None:
    push(PushConfig(adapter=str(run), repo="mine", samples=4, **form))  # pyright: ignore[reportArgumentType] - a mixed dict
    files = hub.files["me/mine"]
    assert json.loads(files["config.json"])["id2label"] == OWN
    assert "- Not-OK" in files["README.md"].decode()
