"""The files for SQuAD's official scorer hold the answers of the headline split."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import torch
from datasets import Dataset
from transformers import PreTrainedTokenizerFast

from goft_cli.run import summary
from goft_cli.run.folder import RunFolder
from goft_cli.tasks.base import Split
from goft_cli.tasks.question_answering import QuestionAnswering

QaMaker = Callable[..., QuestionAnswering]
TokenizerMaker = Callable[..., PreTrainedTokenizerFast]


def test_of_two_splits_the_headlines_is_handed_in(
    make_task: QaMaker, make_tokenizer: TokenizerMaker, tmp_path: Path
) -> None:
    task = make_task(eval_splits=["validation", "test"], headline_split="test")
    splits, outputs = {}, {}
    for name, context in (("validation", "abc"), ("test", "déf")):
        row = {"id": f"{name}-1", "question": "q", "context": context}
        rows = Dataset.from_list([{**row, "answers": {"text": ["a"], "answer_start": [0]}}])
        splits[name] = Split(rows, task.encode(rows, make_tokenizer()))
        # [CLS] q [SEP], three letters of which the second is the best, [SEP].
        logits = torch.tensor([[[0, 0, 0, 1, 5, 2, 0.0]], [[0, 0, 0, 1, 5, 2.5, 0]]])
        kept = task.reduce(tuple(logits), {"attention_mask": torch.ones(1, 7)})
        outputs[name] = tuple(part.numpy() for part in kept)
    summary.write_predictions(RunFolder(tmp_path), task, splits, outputs)
    assert {path.name for path in tmp_path.iterdir()} == {
        "predictions.validation.jsonl",
        "predictions.test.jsonl",
        "predictions.json",
        "nbest_predictions.json",
    }
    assert json.loads((tmp_path / "predictions.json").read_text()) == {"test-1": "é"}
    best, *others = json.loads((tmp_path / "nbest_predictions.json").read_text())["test-1"]
    assert (best["text"], best["start_logit"], best["end_logit"]) == ("é", 5.0, 5.0)
    assert [other["text"] for other in others] == ["éf", "dé", "f", "déf", "d"]
    line = json.loads((tmp_path / "predictions.validation.jsonl").read_text())
    assert line["prediction"] == {"text": "b", "probability": best["probability"]}
