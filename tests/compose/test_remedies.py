"""Each `pass KEY=VALUE` in an error message of the package names a valid key and value.

The messages are read from the source, so a new one is tested automatically. Those of `tuner` are
left out: it is called from Python, and its errors name arguments.
"""

from __future__ import annotations

import ast
import pickle
import re
import shlex
from collections import Counter
from collections.abc import Iterator
from dataclasses import fields
from functools import cache
from pathlib import Path

import pytest

import goft_cli
from goft_cli.compose.keys import known_keys, verb_choices
from goft_cli.compose.recomposition import compose_train
from goft_cli.compose.suggest import CommandLine, mistyped
from goft_cli.compose.words import SHORT
from goft_cli.config import SCHEMAS, InstructionConfig, TextClassificationConfig
from goft_cli.run import summary
from goft_cli.system.errors import GoftError
from goft_cli.tasks.families import build_task
from tests.support.small_runs import composed

PACKAGE = Path(goft_cli.__file__).parent
HOLE = "\0"
"""Stands for a value that an f-string inserts."""
ADVICE = re.compile(
    r"(?:pass|choose|set|with|write|yours:|such as|or|and) "
    r"('[a-z][\w.]*=[^']*'|[a-z][\w.]*=(?:\[[^\]]*\]|[^\s;,`'\")]*))"
)
OPEN = re.compile(rf"{HOLE}|\.\.\.|=$|\b(?!A\b)[A-Z][A-Z_]+\b")
"""Matches a word whose value is left open: an inserted value, `...` or a name such as DIR."""
SETTINGS = [
    ["task=demo/instructions"],
    ["task=demo/acceptability"],
    ["task=demo/instructions", "benchmark=vicuna"],
    ["task=demo/talk"],
    ["task=demo/qa"],
    ["task=demo/acceptability", "adapter=adalora"],
    ["task=demo/acceptability", "adapter=peft"],
]
"""Words for runs that together have every key of a run that a message advises."""


def texts(path: Path) -> Iterator[str]:
    """Yield the strings and f-strings of a file, without docstrings."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    inside: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr):
            inside.add(id(node.value))
        elif isinstance(node, ast.JoinedStr):
            inside |= {id(part) for part in node.values}
            parts = [p.value if isinstance(p, ast.Constant) else HOLE for p in node.values]
            yield "".join(map(str, parts))
        elif isinstance(node, ast.Constant) and id(node) not in inside:
            yield str(node.value)


@cache
def advised() -> list[str]:
    """Return the words that the package's messages advise, without the quotes for the shell."""
    files = [path for path in PACKAGE.rglob("*.py") if "tuner" not in path.parts]
    found = {word for path in files for text in texts(path) for word in ADVICE.findall(text)}
    return sorted({" ".join(shlex.split(word)) for word in found})


def test_the_texts_are_found() -> None:
    assert {"task.column_aliases={output: response}", "tracker=none"} <= {*advised()}
    assert len(advised()) > 20


@cache
def run_keys() -> list[set[str]]:
    """Return the keys of each run of `SETTINGS`."""
    return [{*known_keys("train", words, ())} for words in SETTINGS]


def test_an_advised_key_exists() -> None:
    of_verbs = {entry.name for schema in SCHEMAS.values() for entry in fields(schema)}
    known = of_verbs.union(SHORT, *run_keys())
    for word in advised():
        key = word.partition("=")[0]
        # errors of a benchmark call its keys `task.KEY`, because it is a task
        assert {key, f"benchmark.{key.removeprefix('task.')}"} & known, word


@pytest.mark.parametrize("word", [word for word in advised() if not OPEN.search(word)])
def test_an_advised_word_can_be_typed(word: str) -> None:
    key, _, value = word.partition("=")
    fitting = [words for words, keys in zip(SETTINGS, run_keys(), strict=True) if key in keys]
    if key == "task":  # some tasks cannot be trained, only scored
        assert value in verb_choices("train")["task"]
    elif fitting:  # else a key of another verb, tested above
        assert composed([*fitting[0], word])


@pytest.mark.parametrize(
    "word", ["task.column_aliases={output: reply}", "task.column_aliases.output=reply"]
)
def test_a_column_is_named_by_either_word(word: str) -> None:
    words = ["task=demo/instructions", word]
    assert mistyped(CommandLine("train", tuple(words))) is None
    task = composed(words).task
    assert isinstance(task, InstructionConfig)
    assert task.column_aliases == {"output": "reply"}


def joined(path: Path) -> Iterator[str]:
    """Yield each GoftError that joins problem and remedy by a semicolon in one argument."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == GoftError.__name__:
            constants = (part for part in ast.walk(node) if isinstance(part, ast.Constant))
            if len(node.args) == 1 and any("; " in str(part.value) for part in constants):
                yield f"{path}:{node.lineno}"


def test_a_remedy_is_a_field_of_its_own() -> None:
    assert not [place for path in PACKAGE.rglob("*.py") for place in joined(path)]


def test_another_process_gets_both_fields() -> None:
    found = pickle.loads(pickle.dumps(GoftError("seed=x: no number", "pass seed=1")))
    assert (found.problem, found.remedy) == ("seed=x: no number", "pass seed=1")
    assert str(found) == "seed=x: no number; pass seed=1"
    assert str(GoftError("seed=x: expected a number")) == "seed=x: expected a number"


def test_classes_that_differ_in_case_are_named_with_words_that_make_them_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = tmp_path / "r.csv"
    rows = [
        "text,label",
        *(f"a {n},{name}" for n in range(9) for name in ("Pos", "pos", '"n e,g"')),
    ]
    data.write_text("\n".join(rows))
    words = ["task=own/classification", f"data={data}", "model=tiny-deberta-v3"]
    cfg = compose_train(words)
    summary.announce(cfg, {}, {})
    (line,) = (said for said in caplog.messages if "to make them one" in said)
    assert line.startswith("Pos, pos are")
    (word,) = shlex.split(line[line.index("'") :])
    merged = compose_train([*words, word])
    assert isinstance(merged.task, TextClassificationConfig)
    assert len(merged.task.labels) == 2
    rows = build_task(merged.task).load_splits(["train"]).splits["train"]
    assert {*Counter(rows["label"]).values()} == {16, 8}
