"""Tiny-llama is tuned on instructions, scored again, used to answer, and merged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from goft_cli.config import EvalConfig, MergeConfig, PredictConfig
from goft_cli.data.sources import read_demo
from goft_cli.run import pipeline
from goft_cli.run.folder import RunFolder
from goft_cli.system.errors import GoftError
from goft_cli.verbs.eval import evaluate
from goft_cli.verbs.merge import merge
from goft_cli.verbs.predict import predict
from tests.support import small_runs

QUESTION = "What is two plus three?"


def write_data(folder: Path, rows: int = 24) -> Path:
    """Write rows in Alpaca's format, one of them without an answer."""
    folder.mkdir()
    asked = read_demo("demo:instructions", "train")[: rows - 1]
    content = [*asked, {"instruction": "Why?", "input": "", "output": ""}]
    (folder / "train.json").write_text(json.dumps(content), encoding="utf-8")
    return folder


def start(root: Path, *more: str) -> RunFolder:
    data = root / "data"
    words = [
        "task=instruct/alpaca",
        "model=tiny-llama",
        f"task.data_dir={data if data.exists() else write_data(data)}",
        "task.max_length=200",
        f"output_dir={root / 'run'}",
        "adapter=qgoft",
        "task.global_batch=total_32",
        "trainer.per_device_train_batch_size=8",
        "trainer.warmup_steps=0",
        "trainer.learning_rate=0.03",
        "trainer.num_train_epochs=2",
        "trainer.use_cpu=true",
        "overwrite=true",
    ]
    return RunFolder(pipeline.run(small_runs.composed([*words, *more])))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return start(tmp_path_factory.mktemp("instructions"))


@pytest.mark.feature("generation", "qgoft")
def test_a_run_without_evaluation_splits_is_checked_on_training_rows(trained: RunFolder) -> None:
    metrics = json.loads(trained.metrics.read_text())
    scores = metrics["metrics"]["train_sample"]
    assert set(scores) == {"loss", "perplexity"}
    assert metrics["headline"] == {"name": "loss", "value": scores["loss"]}
    assert metrics["agreement"]["reloaded"] == 0.0
    assert 0 < metrics["agreement"]["merged"] <= metrics["agreement"]["tolerance"]
    assert metrics["trainable_parameters"] == 8 * 95 * 4
    assert metrics["head_parameters"] == 0
    assert json.loads(trained.manifest.read_text())["data"]["rows"] == {"train": 23}
    assert "1 of 24 rows have no instruction or no output" in trained.log.read_text()
    lines = (trained.path / "predictions.train_sample.jsonl").read_text().splitlines()
    assert set(json.loads(lines[0])["prediction"]) == {"loss", "tokens"}


def test_a_share_kept_back_picks_the_best(tmp_path: Path) -> None:
    order = "trainer.train_sampling_strategy=group_by_length"
    run = start(tmp_path, "task.holdout=0.2", "task.packing=true", order)
    metrics = json.loads(run.metrics.read_text())
    assert list(metrics["metrics"]) == ["validation"]
    assert json.loads(run.manifest.read_text())["data"]["rows"] == {"train": 18, "validation": 5}
    state = json.loads((run.checkpoints / "checkpoint-2" / "trainer_state.json").read_text())
    losses = [row["eval_loss"] for row in state["log_history"] if "eval_loss" in row]
    assert metrics["headline"]["value"] == pytest.approx(min(losses), rel=1e-6)
    assert metrics["best_checkpoint_step"] == 1 + losses.index(min(losses))


@pytest.mark.parametrize("merged", [False, True])
def test_eval_finds_the_scores_of_the_run_again(
    merged: bool, trained: RunFolder, tmp_path: Path
) -> None:
    output = tmp_path / "eval.json"
    evaluate(EvalConfig(adapter=str(trained.path), merged=merged, output=str(output)))
    expected = json.loads(trained.metrics.read_text())["metrics"]["train_sample"]
    found = json.loads(output.read_text())["metrics"]["train_sample"]
    assert found == pytest.approx(expected, rel=1e-5)


def test_predict_answers_one_text(trained: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    predict(PredictConfig(adapter=str(trained.path), text=QUESTION, max_new_tokens=4))
    answer = json.loads(capsys.readouterr().out)
    assert (answer["instruction"], answer["input"]) == (QUESTION, "")
    assert set(answer["prediction"]) == {"output"}


def test_predict_answers_a_file_as_the_merged_model_does(
    trained: RunFolder, tmp_path: Path
) -> None:
    source, output = tmp_path / "new.jsonl", tmp_path / "out.jsonl"
    rows = [
        {"instruction": QUESTION},
        {"instruction": "Who has the map?", "input": "Tom has a map."},
    ]
    source.write_text("\n".join(map(json.dumps, rows)))
    words = {"input": str(source), "output": str(output), "max_new_tokens": 6}
    predict(PredictConfig(adapter=str(trained.path), **words))
    lines = [json.loads(line) for line in output.read_text().splitlines()]
    assert [line["input"] for line in lines] == [None, "Tom has a map."]

    merge(MergeConfig(adapter=str(trained.path), output_dir=str(tmp_path / "merged")))
    model: Any = AutoModelForCausalLM.from_pretrained(tmp_path / "merged")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "merged")
    assert tokenizer.padding_side == "left", "as it was"
    prompt = (
        "Below is an instruction that describes a task. Write a response that appropriately "
        "completes the request.\n\n### Instruction:\nWho has the map?\nTom has a map.\n\n"
        "### Response:\n"
    )
    ids = tokenizer(prompt, return_tensors="pt")["input_ids"]
    new = model.generate(ids, max_new_tokens=6, do_sample=False)[0, ids.shape[1] :]
    assert lines[1]["prediction"]["output"] == tokenizer.decode(new, skip_special_tokens=True)


def test_a_text_that_fills_the_context_is_refused(trained: RunFolder) -> None:
    with pytest.raises(GoftError, match=r"row 1: .*256"):
        predict(PredictConfig(adapter=str(trained.path), text="long " * 300))
    with pytest.raises(GoftError, match=r"max_new_tokens=0 "):
        PredictConfig(adapter="x", text="y", max_new_tokens=0)
