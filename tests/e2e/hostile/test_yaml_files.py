"""Broken or unsafe YAML is refused wherever it is read: a user's task, a recipe, a run folder."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from goft_cli.compose.composition import register
from goft_cli.studies.recipes import read_recipe
from goft_cli.system.errors import USAGE_ERROR
from goft_cli.system.files import read_json, read_yaml
from tests.conftest import Goft
from tests.support.refusals import NOISE, refusal, snapshot

Reader = Callable[[Path], object]
DEEP = 10_000
# The content of the third line, and a part of the error message.
FAULTS: dict[str, tuple[bytes, str]] = {
    "nul": (b"x: a\0b", "U+0000"),
    "escape": (b"x: \x1b[2J", "U+001B"),
    "tab": (b"\tx: 1", "token"),
    "latin-1": (b"x: caf\xe9", "0xe9"),
    "python object": (b"x: !!python/object/apply:os.system ['touch burgled']", "!!python/object"),
    "python name": (b"x: !!python/name:os.system", "!!python/name"),
    "python tuple": (b"x: !!python/tuple [1]", "!!python/tuple"),
    "list within itself": (b"x: &a [*a]", "*a"),
    "mapping within itself": (b"x: &a {y: [1, *a]}", "*a"),
    "deep list": (b"x: " + b"[" * DEEP + b"]" * DEEP, "levels"),
    "deep mapping": (b"x: " + b"{a: " * DEEP + b"1" + b"}" * DEEP, "levels"),
    "deep and open": (b"x: " + b"[" * DEEP, "levels"),
    "open": (b"x: [1", "expected"),
    "no anchor": (b"x: *nowhere", "nowhere"),
}
DEFAULTS = [
    ("[/schema/task/text_clasification@_here_]", "mean /schema/task/text_classification?"),
    ("[/task/text_classification@_here_]", "mean /schema/task/text_classification?"),
    ("[/shema/task/chat@_here_]", "mean /schema/task/chat?"),
    ("[/task/own/classificaton@_here_]", "mean /task/own/classification?"),
    ("[/task/mine@_here_]", "from itself"),
    ("[override /model@_global_.model: minilm-l7]", "mean /model/minilm-l6?"),
    ("[override /modle@_global_.model: minilm-l6]", "mean /model/minilm-l6?"),
    ("[override /model@_global_.model: [minilm-l6]]", "no such file"),
    *((empty, "empty") for empty in ("[null]", "[{}]", "['']")),
    *((odd, "the entry") for odd in ("[3]", "[[_self_]]")),
    *((other, "list") for other in ("_self_", "{a: b}", "null")),
]
"""Defaults lists of a user's task, and a part of the error message."""
HEAD = b"# one\n# two\n"


@pytest.mark.parametrize(
    ("case", "flags"),
    [*((case, []) for case in FAULTS), *((case, ["-m"]) for case in ("nul", "deep list", "open"))],
)
def test_a_task_of_the_users_own(case: str, flags: list[str], goft: Goft, tmp_path: Path) -> None:
    content, said = FAULTS[case]
    file = tmp_path / "task" / "mine.yaml"
    file.parent.mkdir()
    file.write_bytes(HEAD + content + b"\n")
    before = snapshot(tmp_path)
    answer = goft("train", *flags, f"--config-dir={tmp_path}", "task=mine")
    assert answer.code == USAGE_ERROR, answer.err
    (sentence,) = answer.err.splitlines()
    assert f"{file}, line " in sentence
    assert said in sentence
    assert not any(noise in sentence for noise in NOISE)
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize("read", [read_yaml, lambda path: read_recipe("mine", path.parent)])
def test_a_run_and_a_recipe(read: Reader, tmp_path: Path) -> None:
    register()
    file = tmp_path / "mine.yaml"
    for content, said in FAULTS.values():
        file.write_bytes(HEAD + content + b"\n")
        sentence = refusal(lambda: read(file), tmp_path)
        assert f"{file}, line " in sentence
        assert said in sentence


@pytest.mark.parametrize("content", [b"labels: [a]\nlabels: [b]\n", b"- 1\n", b"3\n"])
def test_yaml_that_is_no_configuration(content: bytes, goft: Goft, tmp_path: Path) -> None:
    file = tmp_path / "task" / "mine.yaml"
    file.parent.mkdir()
    file.write_bytes(content)
    answer = goft("train", f"--config-dir={tmp_path}", "task=mine")
    assert answer.code == USAGE_ERROR, answer.err
    (sentence,) = answer.err.splitlines()
    assert str(file) in sentence


@pytest.mark.parametrize("flags", [[], ["-m"]])
@pytest.mark.parametrize(("defaults", "said"), DEFAULTS)
def test_defaults_that_name_nothing(
    defaults: str, said: str, flags: list[str], goft: Goft, tmp_path: Path
) -> None:
    file = tmp_path / "task" / "mine.yaml"
    file.parent.mkdir()
    file.write_text(f"defaults: {defaults}\nname: mine\n")
    (tmp_path / "task" / "heir.yaml").write_text("defaults: [/task/mine@_here_]\nname: heir\n")
    for task in ("mine", "heir"):
        answer = goft("train", *flags, f"--config-dir={tmp_path}", f"task={task}")
        assert answer.code == USAGE_ERROR, answer.err
        (sentence,) = answer.err.splitlines()
        assert f"{file}: " in sentence
        assert said in sentence


@pytest.mark.parametrize("read", [read_yaml, read_json])
def test_a_pipe_in_the_place_of_a_runs_file(read: Reader, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "file")
    assert "is a named pipe" in refusal(lambda: read(tmp_path / "file"), tmp_path)


def test_a_pipe_in_the_place_of_a_task(goft: Goft, tmp_path: Path) -> None:
    (tmp_path / "task").mkdir()
    os.mkfifo(tmp_path / "task" / "mine.yaml")
    answer = goft("train", f"--config-dir={tmp_path}", "task=mine")
    assert answer.code == USAGE_ERROR
    assert "mine.yaml is a named pipe" in answer.err


def test_objects_anchors_and_levels_that_are_plain_are_read(tmp_path: Path) -> None:
    levels = "[" * 60 + "]" * 60
    path = tmp_path / "config.yaml"
    path.write_text(f"a: &a [1]\nb: [*a, *a]\nc: !!str 1\nd: {levels}\n", encoding="utf-8")
    assert read_yaml(path)["b"] == [[1], [1]]
