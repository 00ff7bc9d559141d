"""Reads chats in the usual formats, checks them, and returns lists of role and content."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any

from datasets import Dataset, Features, Value

from goft_cli.config import ChatConfig, Invalid, ToolTurns
from goft_cli.data.cells import read_literal
from goft_cli.data.table import SURROGATE, Table
from goft_cli.system.errors import GoftError

SYSTEM, USER, ASSISTANT = "system", "user", "assistant"
ROLES = {
    **dict.fromkeys((SYSTEM, "developer"), SYSTEM),
    **dict.fromkeys((USER, "human", "prompter"), USER),
    **dict.fromkeys((ASSISTANT, "gpt", "model", "bot", "chatgpt"), ASSISTANT),
}
"""Names of roles in files, ShareGPT's included."""
CALLS, RESULTS = ("function_call", "tool_call"), ("tool", "function", "observation", "ipython")
"""Names of an assistant's tool calls, and of a tool's results."""
READ = {"role", "content", "from", "value", "name", "tool_calls", "tool_call_id"}
"""Keys of a turn that are read, or that say nothing without others."""
REMEDY = "correct the row, or pass task.invalid=drop to drop all rows that are not chats"
TOOLS_REMEDY = "pass task.tool_turns=text to keep them as text, or remove them"
FEATURES = [{"role": Value("string"), "content": Value("string")}]

Turn = dict[str, str]
Turns = list[Turn]
Row = Mapping[str, Any]

logger = logging.getLogger(__name__)


class NoChatError(ValueError):
    """A row is not a chat."""

    def __init__(self, problem: str, remedy: str = REMEDY) -> None:
        super().__init__(problem)
        self.remedy = remedy


def checked_chats(table: Table, config: ChatConfig, *, answered: bool) -> Dataset:
    """Return the column `messages` of a table, checked; unless `answered`, the column `prompt`.

    A prompt ends with a user turn; an answer after it is dropped. A row that is not a prompt is
    always refused, whatever `config.invalid` is, because each row needs a prediction. Each row is a
    list of `{"role", "content"}`: optionally a system turn, then user and assistant in turn.
    """
    form, names, read = form_of(table, answered=answered)
    unread = ", ".join(name for name in table.columns if answered and name not in names)
    _say(f"{table.origin}: chats in the form of {form}" + f"; not read: {unread}" * bool(unread))
    columns = {name: list(table.columns[name]) for name in names if name in table.columns}
    chats, faults, ignored = [], [], set[str]()
    for index, values in enumerate(zip(*columns.values(), strict=True)):
        try:
            turns = read(dict(zip(columns, values, strict=True)), answered)
            ignored |= keys_of(turns) - READ
            chats.append(checked_turns(turns, config.tool_turns, answered=answered))
        except NoChatError as fault:
            if config.invalid is Invalid.refuse or not answered:
                remedy = fault.remedy if answered else "correct the row"
                raise GoftError(f"{table.place(index)}: {fault}", remedy) from None
            faults.append(f"{table.place(index)}: {fault}")
    if ignored and answered:
        _say(f"turns have keys that are not read: {', '.join(sorted(ignored))}", logging.WARNING)
    if faults:
        logger.warning(
            "%s: %d of %d rows are not chats and are left out, such as %s",
            *(table.origin, len(faults), len(faults) + len(chats), faults[0]),
        )
    if not chats:
        raise GoftError(f"{table.origin}: no chats", "expected at least one row that is a chat")
    name = "messages" if answered else "prompt"
    return Dataset.from_dict({name: chats}, features=Features({name: FEATURES}))


@cache
def _say(sentence: str, severity: int = logging.INFO) -> None:
    logger.log(severity, "%s", sentence)  # logged once, even if a file is read in parts


def keys_of(turns: Sequence[Any]) -> set[str]:
    """Return the keys of turns with a value; OpenAI's weight only where it is 0."""
    pairs = [pair for turn in turns if isinstance(turn, Mapping) for pair in turn.items()]
    return {key for key, value in pairs if (value == 0 if key == "weight" else value)}


def form_of(
    table: Table, *, answered: bool
) -> tuple[str, Sequence[str], Callable[[Row, bool], list[Any]]]:
    """Return the name of a table's format, its columns, and the function that reads a row."""
    for form, columns, optional, read in FORMS:
        wanted = columns if answered else columns[:1]
        if all(name in table.columns for name in wanted):
            return form, (*columns, *optional), read
    forms = "; or ".join(f"{', '.join(columns)} ({form})" for form, columns, _, _ in FORMS)
    found = ", ".join(map(repr, table.columns))
    raise GoftError(
        f"{table.origin}: found the columns {found}, expected {forms}",
        "rename the columns, or name yours: 'task.column_aliases={prompt: question, completion: "
        "reply}'",
    )


def _listed(name: str) -> Callable[[Row, bool], list[Any]]:
    """Return the function that reads a column of whole chats, and a column `system`."""

    def read(row: Row, answered: bool) -> list[Any]:
        turns = _decoded(row[name], name)
        if not isinstance(turns, list):
            raise NoChatError(f"{name} is {_short(turns)}, expected a list of turns")
        return [*_said(SYSTEM, row.get("system")), *turns]

    return read


def _pair(row: Row, answered: bool) -> list[Any]:
    """Read a prompt and its completion, texts or lists of turns."""
    names = {"prompt": USER, "completion": ASSISTANT} if answered else {"prompt": USER}
    turns: list[Any] = _said(SYSTEM, row.get("system"))
    for name, role in names.items():
        value = row.get(name)
        turns += value if isinstance(value, list) else [{"role": role, "content": value}]
    return turns


def _alpaca(row: Row, answered: bool) -> list[Any]:
    """Read an instruction, perhaps an input, and an output."""
    asked, extra = row["instruction"], row.get("input")
    if isinstance(extra, str) and extra and isinstance(asked, str):
        asked = f"{asked}\n{extra}" if asked else extra
    turns = [*_said(SYSTEM, row.get("system")), *_history(row.get("history"))]
    turns.append({"role": USER, "content": asked})
    return [*turns, {"role": ASSISTANT, "content": row.get("output")}] if answered else turns


def _history(value: object) -> list[Any]:
    """Return LLaMA-Factory's earlier exchanges, each a question and its answer, as turns."""
    pairs = _decoded(value, "history") if value else []
    if not isinstance(pairs, list) or not all(isinstance(p, list) and len(p) == 2 for p in pairs):
        raise NoChatError(f"history is {_short(value)}, expected pairs of question and answer")
    names = (USER, ASSISTANT)
    return [
        {"role": role, "content": said}
        for pair in pairs
        for role, said in zip(names, pair, strict=True)
    ]


FORMS: tuple[tuple[str, Sequence[str], Sequence[str], Callable[[Row, bool], list[Any]]], ...] = (
    ("messages", ("messages",), ("system",), _listed("messages")),
    ("ShareGPT", ("conversations",), ("system",), _listed("conversations")),
    ("prompt and completion", ("prompt", "completion"), ("system",), _pair),
    ("Alpaca", ("instruction", "output"), ("input", "system", "history"), _alpaca),
)
"""Formats in the order of trial: required columns, the prompt's first, and optional ones."""


def _said(role: str, content: object) -> list[Any]:
    """Return a turn in a list; an empty list if its content is empty."""
    return [{"role": role, "content": content}] if content not in (None, "") else []


def _decoded(value: object, name: str) -> object:
    """Return a value, decoded if it is a text."""
    if not isinstance(value, str):
        return value
    try:
        return read_literal(value)
    except ValueError as error:
        raise NoChatError(f"{name} is {_short(value)}, which is {error}") from None


def checked_turns(turns: Sequence[Any], tools: ToolTurns, *, answered: bool) -> Turns:
    """Return turns as roles and contents; refuse an order that templates do not accept."""
    found = list(_joined(turns, tools))
    if found and found[0]["role"] == SYSTEM and not found[0]["content"].strip():
        del found[0]
    while found and not answered and found[-1]["role"] == ASSISTANT:
        del found[-1]
    expected = (SYSTEM, USER)
    for number, turn in enumerate(found, start=1):
        role = turn["role"]
        if role not in expected:
            wanted = "it only as the first" if role == SYSTEM else f"the {expected[-1]}'s"
            raise NoChatError(f"turn {number} is the {role}'s, expected {wanted}")
        if not turn["content"].strip():
            raise NoChatError(f"turn {number}, the {role}'s, is empty")
        expected = (ASSISTANT,) if role == USER else (USER,)
    if answered and all(turn["role"] != ASSISTANT for turn in found):
        raise NoChatError("it has no turn of the assistant")
    if not answered and all(turn["role"] != USER for turn in found):
        raise NoChatError("it has no turn of the user")
    return found


def _joined(turns: Sequence[Any], tools: ToolTurns) -> Iterator[Turn]:
    """Yield the turns as texts; consecutive tool results become one turn."""
    results: list[str] = []
    for number, turn in enumerate(turns, start=1):
        role, content = _text_of(turn, number, tools)
        if role in RESULTS:
            results.append(content)
            continue
        if results:
            yield {"role": USER, "content": "\n".join(results)}
            results = []
        yield {"role": role, "content": content}
    if results:
        yield {"role": USER, "content": "\n".join(results)}


def _text_of(turn: object, number: int, tools: ToolTurns) -> tuple[str, str]:
    """Return the role of a turn, or one of `RESULTS`, and its text."""
    if not isinstance(turn, Mapping):
        raise NoChatError(f"turn {number} is {_short(turn)}, expected a role and a content")
    named, said = ("from", "value") if "from" in turn else ("role", "content")
    name, content, calls = turn.get(named), turn.get(said), turn.get("tool_calls")
    role = ROLES.get(name.lower()) if isinstance(name, str) else None
    if calls or name in CALLS or name in RESULTS:
        if tools is ToolTurns.refuse:
            raise NoChatError(f"turn {number} is a tool's, or calls one", TOOLS_REMEDY)
        role = str(name) if name in RESULTS else ASSISTANT
        parts = [content, json.dumps(calls, ensure_ascii=False)] if calls else [content]
        content = "\n".join(part for part in parts if part)
    if role is None:
        known = ", ".join(dict.fromkeys(ROLES.values()))
        raise NoChatError(f"turn {number} has the role {_short(name)}, expected one of {known}")
    return role, _plain(content, number)


def _plain(content: object, number: int) -> str:
    """Return a text, or the joined text of a list of text parts."""
    if isinstance(content, list):
        parts = [part.get("text") if isinstance(part, Mapping) else part for part in content]
        if all(isinstance(part, str) for part in parts):
            content = "\n".join(map(str, parts))
    if not isinstance(content, str) or SURROGATE.search(content):
        raise NoChatError(f"the content of turn {number} is {_short(content)}, expected text")
    return content


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
