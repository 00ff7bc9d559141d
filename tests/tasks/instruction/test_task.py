"""An instruction task encodes, scores, decodes and answers rows."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from goft_cli.config import Decoding
from goft_cli.system.errors import GoftError
from goft_cli.tasks import generation, instruction
from goft_cli.tasks.base import Split
from goft_cli.tasks.generation import write
from goft_cli.tasks.instruction import Instruction
from tests.support.decoders import Row, logits_of, random_llama, random_rows, shipped_llama

Maker = Callable[..., Instruction]
ROWS = {
    "instruction": ["What is two plus three?", "Name a colour.", "Choose."],
    "input": ["", "", "A. red\nB. blue"],
    "output": ["five", "Red is one, and blue is another one of them.", "A"],
}


@pytest.fixture
def rows() -> Dataset:
    return Dataset.from_dict(ROWS)


def encoded(task: Instruction, rows: Dataset, tokenizer: PreTrainedTokenizerBase) -> list[Row]:
    return task.encode(rows, tokenizer).to_list()  # pyright: ignore[reportReturnType] - no chunks


def test_the_answer_alone_is_scored(
    rows: Dataset, make_instruction: Maker, bytes_tokenizer: PreTrainedTokenizerBase
) -> None:
    found = encoded(make_instruction(), rows, bytes_tokenizer)
    for row, output in zip(found, ROWS["output"], strict=True):
        scored = [label for label in row["labels"] if label != -100]
        assert bytes_tokenizer.decode(scored) == output + "</s>"
        assert row["input_ids"][-len(scored) :] == scored
        assert len(row["labels"]) == len(row["input_ids"])


def test_an_unanswered_row_is_the_prompt(
    rows: Dataset, make_instruction: Maker, bytes_tokenizer: PreTrainedTokenizerBase
) -> None:
    task = make_instruction()
    asked = encoded(task, rows.remove_columns("output"), bytes_tokenizer)
    for prompt, whole in zip(asked, encoded(task, rows, bytes_tokenizer), strict=True):
        assert list(prompt) == ["input_ids"]
        assert whole["input_ids"][: len(prompt["input_ids"])] == prompt["input_ids"]


@pytest.mark.parametrize("length", [2, 40, 100])
def test_rows_are_cut_to_length(
    length: int, rows: Dataset, make_instruction: Maker, bytes_tokenizer: PreTrainedTokenizerBase
) -> None:
    for row in encoded(make_instruction(max_length=length), rows, bytes_tokenizer):
        assert len(row["input_ids"]) <= length
        assert row["labels"][0] == -100
        assert row["labels"][-1] == row["input_ids"][-1]


def test_the_score_is_the_mean_of_all_tokens(rows: Dataset, make_instruction: Maker) -> None:
    split = Split(rows, rows)
    outputs = np.array([[2.0, 4.0], [9.0, 3.0], [1.0, 1.0]], dtype=np.float32)
    task = make_instruction()
    assert task.score(outputs, split) == {"loss": 1.5, "perplexity": pytest.approx(math.exp(1.5))}
    assert task.decode(outputs, split)[1] == {"loss": 3.0, "tokens": 3}


def test_a_ruined_model_has_no_finite_perplexity(rows: Dataset, make_instruction: Maker) -> None:
    assert (
        make_instruction().score(np.array([[1e9, 1.0]]), Split(rows, rows))["perplexity"]
        == math.inf
    )


def by_hand(model: PreTrainedModel, prompt: list[int], limit: int) -> list[int]:
    """Generate greedily up to the end token (2), without a cache, a batch or `generate`."""
    new: list[int] = []
    while len(new) < limit:
        token = int(logits_of(model, {"input_ids": [*prompt, *new]})[-1].argmax())
        if token == 2:
            break
        new.append(token)
    return new


@pytest.mark.parametrize("batch_size", [1, 3, 8])
def test_answers_are_the_likeliest_whatever_the_batch(
    batch_size: int, words_tokenizer: PreTrainedTokenizerBase
) -> None:
    lengths = [(2, 1), (9, 1), (4, 1), (1, 1)]
    prompts = [row["input_ids"] for row in random_rows(lengths, seed=4)]
    model = random_llama(seed=1)
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    found = write(
        model,
        prompts,
        words_tokenizer,
        stops=[2],
        batch_size=batch_size,
        decoding=Decoding(max_new_tokens=12),
    )
    ids = [by_hand(model, prompt, 12) for prompt in prompts]
    assert any(len(new) < 12 for new in ids), "one of them ends by itself"
    assert found == words_tokenizer.batch_decode(ids)
    assert words_tokenizer.pad_token_id is None
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())


def test_the_longest_prompts_are_answered_first(
    words_tokenizer: PreTrainedTokenizerBase, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[int]] = []

    def echo(model: object, prompts: list[list[int]], *_: object, **__: object) -> list[str]:
        asked.append([len(prompt) for prompt in prompts])
        return [str(prompt[0]) for prompt in prompts]

    monkeypatch.setattr(generation, "write_batch", echo)
    prompts = [[row] * size for row, size in enumerate([2, 9, 4, 9, 1])]
    options: dict[str, Any] = {
        "stops": [2],
        "batch_size": 2,
        "decoding": Decoding(max_new_tokens=4),
    }
    assert write(random_llama(), prompts, words_tokenizer, **options) == ["0", "1", "2", "3", "4"]
    assert asked == [[9, 9], [4, 2], [1]]


def test_all_rows_are_checked_before_the_first_is_answered(
    make_instruction: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(instruction, "CHECKED_ROWS", 2)
    model, tokenizer = shipped_llama()
    texts = ["add", "name", "add", "word " * 2000]
    rows = Dataset.from_dict({"instruction": texts, "input": [""] * 4})
    found = make_instruction().unfit_rows(rows, model, tokenizer)
    assert [*found] == [3]
    assert found[3].startswith("its prompt has")


def test_an_answer_ends_with_the_context(words_tokenizer: PreTrainedTokenizerBase) -> None:
    model, prompt = random_llama(), random_rows([(60, 1)])[0]["input_ids"][:60]
    options: dict[str, Any] = {"stops": [2], "batch_size": 1, "decoding": Decoding()}
    (found,) = write(model, [prompt], words_tokenizer, **options)
    ids = by_hand(model, prompt, 4)
    assert found == words_tokenizer.decode(ids)
    with pytest.raises(GoftError, match=r"row 2: .*64 .*64"):
        write(model, [prompt, [3] * 64], words_tokenizer, **options)


def test_the_task_answers_each_row(rows: Dataset, make_instruction: Maker) -> None:
    model, tokenizer = shipped_llama()
    lengths: dict[str, Any] = {"batch_size": 2, "decoding": Decoding(max_new_tokens=5)}
    found = make_instruction().answer(model, rows.remove_columns("output"), tokenizer, **lengths)
    assert [set(answer) for answer in found] == [{"output"}] * 3
    assert all(isinstance(answer["output"], str) for answer in found)
