"""`mmlu/full` gives lm_eval's own answer to each question, where lm_eval is installed."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import ClassLabel, Dataset, DatasetDict, Features, List, Value

from goft_cli.tasks.families import build_benchmark
from goft_cli.training.evaluation import tolerance
from tests.support.multiple_choice import STRANGE, Row, config, made_up, tiny_llama, write_rows

pytestmark = pytest.mark.slow
lm_eval = pytest.importorskip("lm_eval", "0.4.13")
SUBJECT = "formal_logic"
DEV = STRANGE[:5]
TEST = [*STRANGE, *(made_up(SUBJECT, index) for index in range(5))]


def as_on_the_hub(rows: list[Row]) -> Dataset:
    """Return the rows of a csv file in the format of cais/mmlu."""
    features = Features(
        {
            "question": Value("string"),
            "subject": Value("string"),
            "choices": List(Value("string")),
            "answer": ClassLabel(names=[*"ABCD"]),
        }
    )
    found = [
        {"question": question, "subject": SUBJECT, "choices": choices, "answer": letter}
        for question, *choices, letter in rows
    ]
    return Dataset.from_list(found, features=features)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace `load_dataset`, with which lm_eval reads its questions from the hub."""
    splits = DatasetDict({"dev": as_on_the_hub(DEV), "test": as_on_the_hub(TEST)})
    monkeypatch.setattr("datasets.load_dataset", lambda *_, **__: splits)


def theirs(shots: int) -> list[dict[str, Any]]:
    """Return lm_eval's samples for the tiny model."""
    model, tokenizer = tiny_llama()
    models = import_module("lm_eval.models.huggingface")
    found = lm_eval.simple_evaluate(
        model=models.HFLM(pretrained=model, tokenizer=tokenizer, batch_size=4),
        tasks=[f"mmlu_{SUBJECT}"],
        num_fewshot=shots,
        bootstrap_iters=0,
    )
    samples = found["samples"][f"mmlu_{SUBJECT}"]
    assert [one["doc_id"] for one in samples] == list(range(len(TEST)))
    return samples


@pytest.mark.usefixtures("hub")
@pytest.mark.parametrize("shots", [0, 2, 5])
def test_prompts_and_answers_are_those_of_lm_eval(shots: int, tmp_path: Path) -> None:
    for split, rows in (("dev", DEV), ("test", TEST)):
        write_rows(tmp_path / split / f"{SUBJECT}_{split}.csv", rows)
    model, tokenizer = tiny_llama()
    benchmark = build_benchmark(config("mmlu/full", data_dir=str(tmp_path), shots=[shots]))
    data = benchmark.load()
    ours = benchmark.evaluate(model, tokenizer, data, tmp_path, batch_size=4).predictions
    samples = theirs(shots)
    allowed = tolerance(torch.float32, layers=14)
    for mine, their in zip(ours, samples, strict=True):
        chances = [float(answer[0]) for answer in their["filtered_resps"]]
        assert mine["prediction"] == "ABCD"[chances.index(max(chances))]
        assert (mine["prediction"] == mine["answer"]) == bool(their["acc"])
        # lm_eval's probabilities are over the whole vocabulary, goft's over the four letters
        shares = torch.tensor(chances).softmax(dim=0).tolist()
        assert mine["probabilities"] == pytest.approx(shares, abs=allowed)
        text = their["arguments"][0][0]
        assert mine["shortened"] == (len(tokenizer(text)["input_ids"]) > 256)
