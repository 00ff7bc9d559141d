"""A chat task encodes, shortens, scores and answers chats."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import PreTrainedTokenizerFast

from goft_cli.config import Decoding, LossOn, Overlong
from goft_cli.system.errors import GoftError
from goft_cli.tasks.base import Split
from goft_cli.tasks.chat import Chat, shortened
from goft_cli.tasks.instruction import PadRight, row_losses
from goft_cli.tasks.tokens import IGNORED
from tests.support.chats import CHATML, Turns, bytes_tokenizer, template
from tests.support.decoders import shipped_llama

Maker = Callable[..., Chat]
SYSTEM = {"role": "system", "content": "Be brief."}
TALK = [
    {"role": "user", "content": "Hi there"},
    {"role": "assistant", "content": "Yo"},
    {"role": "user", "content": "And?"},
    {"role": "assistant", "content": "Bye"},
]


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    made = bytes_tokenizer()
    made.chat_template = template(CHATML, says=False)
    return made


def rows_of(*chats: Turns) -> Dataset:
    return Dataset.from_dict({"messages": list(chats)})


def encoded(task: Chat, tokenizer: PreTrainedTokenizerFast, *chats: Turns) -> list[dict[str, Any]]:
    return [dict(row) for row in task.encode(rows_of(*chats), tokenizer)]


def runs(tokenizer: PreTrainedTokenizerFast, labels: list[int]) -> list[str]:
    """Return the text of each run of scored tokens."""
    marked = [-1 if label == IGNORED else label for label in labels]
    cuts = np.flatnonzero(np.diff(np.array(marked) == -1)) + 1
    parts = [part.tolist() for part in np.split(np.array(marked), cuts)]
    return [str(tokenizer.decode(part)) for part in parts if part[0] != -1]


@pytest.mark.parametrize(
    ("on", "expected"),
    [(LossOn.assistant, ["Yo<|im_end|>", "Bye<|im_end|>"]), (LossOn.last, ["Bye<|im_end|>"])],
)
def test_the_assistants_turns_are_scored(
    on: LossOn, expected: list[str], make_chat: Maker, tokenizer: PreTrainedTokenizerFast
) -> None:
    (row,) = encoded(make_chat(loss_on=on), tokenizer, [SYSTEM, *TALK])
    assert runs(tokenizer, row["labels"]) == expected
    whole = tokenizer.apply_chat_template([SYSTEM, *TALK], tokenize=False)
    assert tokenizer.decode(row["input_ids"]) == whole


def test_all_tokens_are_scored_but_the_first(
    make_chat: Maker, tokenizer: PreTrainedTokenizerFast
) -> None:
    (row,) = encoded(make_chat(loss_on=LossOn.all), tokenizer, TALK)
    assert row["labels"] == [IGNORED, *row["input_ids"][1:]]


def test_a_prompt_is_a_chat_up_to_the_answer(
    make_chat: Maker, tokenizer: PreTrainedTokenizerFast
) -> None:
    task = make_chat()
    (whole,) = encoded(task, tokenizer, TALK)
    asked = task.encode(Dataset.from_dict({"prompt": [TALK[:3]]}), tokenizer)
    (prompt,) = list(asked["input_ids"])
    rest = whole["labels"][len(prompt) :]
    assert whole["input_ids"][: len(prompt)] == prompt
    assert runs(tokenizer, rest) == ["Bye<|im_end|>"]
    assert task.stops(tokenizer) == sorted(
        map(tokenizer.convert_tokens_to_ids, ["</s>", "<|im_end|>"])
    )


def test_the_oldest_exchanges_go_first_and_the_system_stays() -> None:
    assert list(shortened([SYSTEM, *TALK])) == [(0, [SYSTEM, *TALK]), (2, [SYSTEM, *TALK[2:]])]
    assert list(shortened(TALK[:3])) == [(0, TALK[:3])]


@pytest.mark.parametrize("overlong", Overlong)
def test_a_long_chat_is_left_out_or_loses_its_oldest_turns(
    overlong: Overlong,
    make_chat: Maker,
    tokenizer: PreTrainedTokenizerFast,
    caplog: pytest.LogCaptureFixture,
) -> None:
    endless = [TALK[0], {"role": "assistant", "content": "la " * 500}]
    long = [SYSTEM, *TALK, *TALK]
    fitting, needed = encoded(make_chat(), tokenizer, [SYSTEM, *TALK], long)
    length = len(fitting["input_ids"])
    assert length < len(needed["input_ids"])
    task = make_chat(max_length=length, overlong=overlong)
    rows = rows_of(long, endless, [SYSTEM, *TALK])
    with caplog.at_level(logging.WARNING):
        split = task.split(rows, tokenizer)
    assert isinstance(split.inputs, Dataset)
    assert split.inputs.column_names == ["input_ids", "labels"]
    kept = [fitting["input_ids"]] * len(split.rows)
    assert list(split.inputs["input_ids"]) == kept
    if overlong is Overlong.drop:
        assert list(split.rows["messages"]) == [[SYSTEM, *TALK]]
        assert f"2 of 3 chats have more than {length} tokens and are left out" in caplog.text
    else:
        assert list(split.rows["messages"]) == [long, [SYSTEM, *TALK]]
        assert f"1 of 3 chats have more than {length} tokens and lose" in caplog.text
        assert f"1 of 3 chats have more than {length} tokens in their last" in caplog.text


def test_something_has_to_be_left(make_chat: Maker, tokenizer: PreTrainedTokenizerFast) -> None:
    with pytest.raises(GoftError, match=r"task.max_length=9: 1 of 1 chats have more than 9 tokens"):
        make_chat(max_length=9).split(rows_of(TALK), tokenizer)


def test_a_chat_that_the_template_refuses_is_named(make_chat: Maker) -> None:
    other = bytes_tokenizer()
    other.chat_template = "{{ raise_exception('no system here') if messages|length == 5 }}" + (
        template(CHATML, says=False)
    )
    with pytest.raises(GoftError, match=r"chat 2 \('Hi there'\): .*no system here.*template="):
        make_chat().encode(rows_of(TALK, [SYSTEM, *TALK]), other)


def test_a_template_in_a_file_has_to_be_there(make_chat: Maker) -> None:
    with pytest.raises(GoftError, match=r"task.template=nowhere.jinja: not readable"):
        make_chat(template="nowhere.jinja").fit_processor(bytes_tokenizer())


def test_a_rows_losses_are_summed_over_all_its_turns() -> None:
    rows = [
        {"input_ids": [1, 2, 3, 4, 5, 6], "labels": [-100, 2, 3, -100, 5, 6]},
        {"input_ids": [1, 2, 3], "labels": [-100, -100, 3]},
    ]
    batch = PadRight(0)(rows)
    logits = torch.randn(2, 6, 9, generator=torch.Generator().manual_seed(0))

    def by_hand(index: int) -> Tensor:
        labels = torch.tensor(rows[index]["labels"])
        return cross_entropy(
            logits[index, : len(labels) - 1], labels[1:], ignore_index=-100, reduction="sum"
        )

    found = row_losses(logits, batch["labels"])
    torch.testing.assert_close(found[:, 0], torch.stack([by_hand(0), by_hand(1)]))
    assert found[:, 1].tolist() == [4, 1]


def test_the_score_is_the_mean_of_all_tokens(make_chat: Maker) -> None:
    rows = rows_of(TALK, TALK)
    outputs = np.array([[2.0, 4.0], [10.0, 4.0]], dtype=np.float32)
    assert make_chat().score(outputs, Split(rows, rows))["loss"] == 1.5


def test_each_prompt_is_answered(make_chat: Maker) -> None:
    model, tokenizer = shipped_llama()
    task = make_chat()
    task.fit_processor(tokenizer)
    rows = Dataset.from_dict({"prompt": [TALK[:1], TALK[:3]]})
    found = task.answer(model, rows, tokenizer, batch_size=2, decoding=Decoding(max_new_tokens=4))
    assert [set(answer) for answer in found] == [{"output"}] * 2
    assert all(isinstance(answer["output"], str) for answer in found)
