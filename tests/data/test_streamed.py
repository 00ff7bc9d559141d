"""Files read a few rows at a time give the same rows and splits as files read whole."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from goft_cli.compose.recomposition import compose_train
from goft_cli.data import streamed
from goft_cli.data.streamed import head_of, mapped, tables_of
from goft_cli.data.table import Table
from goft_cli.system.errors import GoftError
from goft_cli.tasks.base import TaskData
from goft_cli.tasks.families import build_task
from tests.support.recipe_cells import own_data

ROWS = 23


@pytest.fixture(autouse=True)
def _few_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streamed, "AT_ONCE", 5)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    lines = [json.dumps({"prompt": f"{n}?", "completion": f"{n}!"}) for n in range(ROWS)]
    path = tmp_path / "talks.jsonl"
    path.write_text("\n\n".join(lines), encoding="utf-8")
    return path


def load(task: str, path: Path, *words: str) -> TaskData:
    return build_task(compose_train([f"task={task}", f"data={path}", *words]).task).load()


@pytest.mark.parametrize("task", ["own/chat", "own/instruction"])
@pytest.mark.parametrize("more", [[], ["split=0.4"]])
def test_it_is_what_would_be_read_whole(task: str, more: list[str], file: Path) -> None:
    whole, parts = load(task, file, *more), load(task, file, *more, "streaming=true")
    assert parts.provenance == whole.provenance
    assert {name: rows.to_list() for name, rows in parts.splits.items()} == {
        name: rows.to_list() for name, rows in whole.splits.items()
    }
    assert all(rows.cache_files for rows in parts.splits.values()), "mapped from disk"


def test_few_rows_are_in_memory_together(file: Path) -> None:
    sizes = []

    def convert(table: Table) -> streamed.Dataset:
        sizes.append(len(table))
        return streamed.Dataset.from_dict({"prompt": list(table.columns["prompt"])})

    assert len(mapped([file], convert)) == ROWS
    assert sizes == [5, 5, 5, 5, 3]
    assert streamed.count([file]) == ROWS
    assert len(head_of(file)) == 5


def test_a_broken_line_is_named(file: Path) -> None:
    lines = file.read_text(encoding="utf-8").splitlines()
    for broken in ('{"prompt": ', "7", '"text"'):
        lines[2 * 17] = broken
        file.write_text("\n".join(lines), encoding="utf-8")
        with pytest.raises(GoftError, match=rf"talks\.jsonl, line {2 * 17 + 1}: "):
            list(tables_of(file))


def test_only_json_lines_of_ones_own_are_streamed(tmp_path: Path) -> None:
    with pytest.raises(GoftError, match=r"save it as a \.jsonl"):
        load("own/instruction", own_data("own/instruction"), "streaming=true")
    with pytest.raises(GoftError, match="streaming"):
        compose_train(["task=demo/instructions", "task.streaming=true"])
    (tmp_path / "empty.jsonl").touch()
    with pytest.raises(GoftError, match="is empty"):
        load("own/chat", tmp_path / "empty.jsonl", "streaming=true")


def test_every_shard_is_read(file: Path, tmp_path: Path) -> None:
    folder = tmp_path / "talks"
    folder.mkdir()
    for number in range(2):
        shard = folder / f"train-{number:05d}-of-00002.jsonl"
        shard.write_text(file.read_text(encoding="utf-8"), encoding="utf-8")
    cfg = compose_train(["task=own/chat", f"data={folder}", "streaming=true"])
    data = build_task(cfg.task).load()
    assert sum(len(rows) for rows in data.splits.values()) == 2 * ROWS
    assert len(data.provenance["sha256"]) == 2
    assert streamed.count([*folder.iterdir()]) == 2 * ROWS
