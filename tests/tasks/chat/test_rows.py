"""Chats are read from files of every form; rows that are no chats are left out or refused."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from datasets import Dataset
from hypothesis import given
from hypothesis import strategies as st

from goft_cli.config import Invalid, ToolTurns
from goft_cli.system.errors import GoftError
from goft_cli.tasks.chat import Chat
from goft_cli.tasks.chat.rows import NoChatError, checked_turns
from tests.support.chats import chats

Maker = Callable[..., Chat]
HI = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yo"}]
MORE = [*HI, {"role": "user", "content": "And?"}, {"role": "assistant", "content": "Bye"}]
SYSTEM = {"role": "system", "content": "Be brief."}
NAMES = {"user": "human", "assistant": "gpt", "system": "system"}


def sharegpt(turns: Sequence[dict[str, str]]) -> list[dict[str, str]]:
    return [{"from": NAMES[turn["role"]], "value": turn["content"]} for turn in turns]


def write(folder: Path, rows: Sequence[Any], name: str = "train.jsonl") -> None:
    lines = name.endswith("jsonl")
    content = "\n".join(map(json.dumps, rows)) if lines else json.dumps(rows)
    (folder / name).write_text(content, encoding="utf-8")


def read(task: Chat) -> list[Any]:
    return list(task.load().splits["train"]["messages"])


FORMS: dict[str, tuple[list[dict[str, Any]], list[Any]]] = {
    "messages": ([{"messages": [SYSTEM, *MORE]}, {"messages": HI}], [[SYSTEM, *MORE], HI]),
    "ShareGPT": (
        [{"id": "a", "conversations": sharegpt(MORE)}, {"conversations": sharegpt([SYSTEM, *HI])}],
        [MORE, [SYSTEM, *HI]],
    ),
    "ShareGPT, roles of others": ([{"conversations": MORE}], [MORE]),
    "ShareGPT, the system's words beside": (
        [{"system": "Be brief.", "conversations": sharegpt(HI)}],
        [[SYSTEM, *HI]],
    ),
    "prompt and completion": ([{"prompt": "Hi", "completion": "Yo"}], [HI]),
    "prompt and completion as turns": (
        [{"prompt": [SYSTEM, HI[0]], "completion": [HI[1]]}],
        [[SYSTEM, *HI]],
    ),
    "Alpaca": (
        [
            {"instruction": "Hi", "input": "", "output": "Yo"},
            {"instruction": "Add.", "input": "2, 3", "output": "5"},
        ],
        [
            HI,
            [{"role": "user", "content": "Add.\n2, 3"}, {"role": "assistant", "content": "5"}],
        ],
    ),
    "an unanswered last turn": ([{"messages": [*HI, HI[0]]}], [[*HI, HI[0]]]),
    "parts that are texts": (
        [{"messages": [{**turn, "content": [{"text": turn["content"]}]} for turn in HI]}],
        [HI],
    ),
    "an empty system's turn": ([{"messages": [{"role": "system", "content": " "}, *HI]}], [HI]),
}


@pytest.mark.parametrize("name", ["train.json", "train.jsonl", "train.parquet"])
@pytest.mark.parametrize("form", FORMS)
def test_a_form_is_recognised(form: str, name: str, make_chat: Maker, tmp_path: Path) -> None:
    rows, expected = FORMS[form]
    if name.endswith("parquet"):
        Dataset.from_list(rows).to_parquet(tmp_path / name)
    else:
        write(tmp_path, rows, name)
    assert read(make_chat()) == expected


@pytest.mark.parametrize(
    "row",
    [{"prompt": "Hi", "completion": "Yo"}, {"messages": json.dumps(HI)}, {"messages": HI}],
    ids=["pair", "JSON", "as pandas prints it"],
)
def test_a_table_has_pairs_or_chats(row: dict[str, Any], make_chat: Maker, tmp_path: Path) -> None:
    pd.DataFrame([row]).to_csv(tmp_path / "train.csv", index=False)
    assert read(make_chat()) == [HI]


def test_columns_may_have_other_names(make_chat: Maker, tmp_path: Path) -> None:
    write(tmp_path, [{"question": "Hi", "reply": "Yo", "id": 7}])
    aliases = {"prompt": "question", "completion": "reply"}
    assert read(make_chat(column_aliases=aliases)) == [HI]


def test_the_form_is_said(
    make_chat: Maker, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path, [{"conversations": sharegpt(HI)}])
    with caplog.at_level(logging.INFO):
        read(make_chat())
    assert "train.jsonl: chats in the form of ShareGPT" in caplog.text


def user(content: object) -> dict[str, object]:
    return {"role": "user", "content": content}


CALL = [
    user("Is it warm?"),
    {"role": "assistant", "content": None, "tool_calls": [{"name": "weather"}]},
    {"role": "tool", "content": "12 degrees"},
    {"role": "tool", "content": "and rain"},
    {"role": "assistant", "content": "No."},
]
FAULTS: list[tuple[object, str]] = [
    ({"messages": [HI[0], HI[0], HI[1]]}, "turn 2 is the user's, expected the assistant's"),
    ({"messages": [HI[1], *HI]}, "turn 1 is the assistant's, expected the user's"),
    ({"messages": [HI[0], HI[1], HI[1]]}, "turn 3 is the assistant's, expected the user's"),
    ({"messages": [*HI, SYSTEM, *HI]}, "turn 3 is the system's, expected it only as the first"),
    ({"messages": [{"role": "narrator", "content": "x"}]}, "turn 1 has the role 'narrator'"),
    ({"messages": [{"content": "x"}]}, "turn 1 has the role None"),
    ({"messages": [HI[0], {"role": "assistant", "content": " "}]}, "turn 2, the assistant's, is"),
    ({"messages": [user(""), HI[1]]}, "turn 1, the user's, is empty"),
    ({"messages": [HI[0]]}, "it has no turn of the assistant"),
    ({"messages": []}, "it has no turn of the assistant"),
    ({"messages": "Hi"}, "messages is 'Hi', which is neither JSON"),
    ({"messages": None}, "messages is None, expected a list of turns"),
    ({"messages": {"role": "user"}}, "messages is .*, expected a list of turns"),
    ({"messages": ["Hi", "Yo"]}, "turn 1 is 'Hi', expected a role and a content"),
    ({"messages": [user(5), HI[1]]}, "the content of turn 1 is 5, expected text"),
    ({"messages": [user([{"type": "image"}]), HI[1]]}, "the content of turn 1 is .*image"),
    ({"messages": [user("\ud800"), HI[1]]}, "the content of turn 1 is .*expected text"),
    ({"messages": CALL}, "turn 2 is a tool's, or calls one; pass task.tool_turns=text"),
]


@pytest.mark.parametrize(("row", "sentence"), FAULTS)
def test_a_row_that_is_no_chat_has_its_sentence(
    row: object, sentence: str, make_chat: Maker, tmp_path: Path
) -> None:
    write(tmp_path, [{"messages": HI}, row])
    with pytest.raises(GoftError, match=f"train.jsonl, line 2: {sentence}"):
        make_chat().load()


def test_such_rows_may_be_left_out_and_are_counted(
    make_chat: Maker, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path, [{"messages": HI}, *(row for row, _ in FAULTS)])
    with caplog.at_level(logging.WARNING):
        assert read(make_chat(invalid=Invalid.drop)) == [HI]
    assert f"{len(FAULTS)} of {len(FAULTS) + 1} rows are not chats and are left out" in caplog.text
    assert "line 2: turn 2 is the user's" in caplog.text


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        (
            [{"text": "Hi"}],
            r"found the columns 'text', expected .*Alpaca.*column_aliases=",
        ),
        ([{"prompt": "Hi"}], r"found the columns 'prompt', expected"),
        ([{"instruction": "Hi", "output": ""}], r"line 1: turn 2, the assistant's, is empty"),
        ([{"prompt": "Hi", "completion": None}], r"line 1: the content of turn 2 is None"),
        (["Hi"], r'train.jsonl, line 1: found "Hi"; expected one object per row'),
    ],
)
def test_broken_data_has_its_sentence(
    rows: list[Any], sentence: str, make_chat: Maker, tmp_path: Path
) -> None:
    write(tmp_path, rows)
    with pytest.raises(GoftError, match=sentence):
        make_chat().load()


def test_broken_json_far_down_is_found(make_chat: Maker, tmp_path: Path) -> None:
    lines = [json.dumps({"messages": HI})] * 5000
    lines[4999] = lines[4999][:-1]
    (tmp_path / "train.jsonl").write_text("\n".join(lines))
    with pytest.raises(GoftError, match=r"train.jsonl, line 5000: not JSON"):
        make_chat().load()


def test_no_row_may_be_a_chat(make_chat: Maker, tmp_path: Path) -> None:
    write(tmp_path, [{"messages": HI[:1]}])
    with pytest.raises(GoftError, match=r"train.jsonl: no chats"):
        make_chat(invalid=Invalid.drop).load()


def test_tools_may_be_kept_as_text(make_chat: Maker, tmp_path: Path) -> None:
    write(tmp_path, [{"messages": CALL}])
    (turns,) = read(make_chat(tool_turns=ToolTurns.text))
    assert [turn["role"] for turn in turns] == ["user", "assistant", "user", "assistant"]
    assert turns[1]["content"] == '[{"name": "weather"}]'
    assert turns[2]["content"] == "12 degrees\nand rain"


def test_a_file_to_answer_ends_with_the_users_turn(make_chat: Maker, tmp_path: Path) -> None:
    write(tmp_path, [{"messages": MORE}, {"messages": [SYSTEM, HI[0]]}], "new.jsonl")
    rows = make_chat().read(tmp_path / "new.jsonl")
    assert list(rows["prompt"]) == [MORE[:3], [SYSTEM, HI[0]]]
    write(tmp_path, [{"prompt": "Hi", "completion": 5}, {"prompt": [HI[0]]}], "new.jsonl")
    assert list(make_chat().read(tmp_path / "new.jsonl")["prompt"]) == [HI[:1], HI[:1]]
    assert list(make_chat().read_text("Hi")["prompt"]) == [HI[:1]]
    write(tmp_path, [{"messages": [SYSTEM]}], "new.jsonl")
    for invalid in Invalid:
        sentence = r"new.jsonl, line 1: it has no turn of the user; correct the row$"
        with pytest.raises(GoftError, match=sentence):
            make_chat(invalid=invalid).read(tmp_path / "new.jsonl")


@given(chats())
def test_a_chat_is_left_as_it_is(turns: list[dict[str, str]]) -> None:
    assert checked_turns(turns, ToolTurns.refuse, answered=True) == turns
    assert checked_turns(turns, ToolTurns.text, answered=True) == turns


@given(chats(), st.data())
def test_a_turn_taken_out_is_noticed(turns: list[dict[str, str]], data: st.DataObject) -> None:
    """Keep the system's turn and the last turn: without either the rest may be a valid chat."""
    first = 1 if turns[0]["role"] == "system" else 0
    place = data.draw(st.integers(first, len(turns) - 2))
    with pytest.raises(NoChatError):
        checked_turns([*turns[:place], *turns[place + 1 :]], ToolTurns.refuse, answered=True)


def test_earlier_exchanges_of_llama_factory_are_read(tmp_path: Path, make_chat: Maker) -> None:
    row = {"instruction": "And?", "output": "Bye", "history": [["Hi", "Yo"]]}
    write(tmp_path, [row])
    assert read(make_chat()) == [MORE]


def test_keys_of_turns_that_are_not_read_are_named(
    tmp_path: Path, make_chat: Maker, caplog: pytest.LogCaptureFixture
) -> None:
    answers = [HI[1] | {"weight": 0, "reasoning": "Hm"}, HI[1] | {"weight": 1, "name": "a"}]
    write(tmp_path, [{"messages": [HI[0], answer], "tools": ["f"]} for answer in answers])
    with caplog.at_level(logging.INFO):
        read(make_chat())
    assert "keys that are not read: reasoning, weight" in caplog.text
    assert "not read: tools" in caplog.text
