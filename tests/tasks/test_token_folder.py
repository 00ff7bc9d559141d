"""The token cache handles damaged files, several processes, its size limit and a full disk."""

from __future__ import annotations

import errno
import multiprocessing
import os
from pathlib import Path
from typing import Any

import pytest
from transformers import PreTrainedTokenizerFast

from goft_cli.run.preflight import check_inputs
from goft_cli.system import kept
from goft_cli.system.errors import GoftError
from goft_cli.system.tables import Verdict
from goft_cli.verbs.doctor import machine
from tests.support import small_runs
from tests.support.kept_tokens import SENTENCES, content, encoded, uncached
from tests.support.kept_tokens import calls as calls
from tests.support.kept_tokens import folder as folder
from tests.support.made_up_tasks import TaskMaker

pytestmark = pytest.mark.usefixtures("folder")


@pytest.mark.parametrize("spoil", ["cut", "empty", "altered"])
def test_a_damaged_file_is_made_anew(
    spoil: str,
    make_task: TaskMaker,
    tokenizer: PreTrainedTokenizerFast,
    folder: Path,
    calls: list[object],
) -> None:
    expected = content(encoded(make_task(), tokenizer))
    (path,) = folder.iterdir()
    whole = path.read_bytes()
    middle = len(whole) // 2
    spoilt = {
        "cut": whole[:-8],  # whole record batches, without Arrow's end-of-stream mark
        "empty": b"",
        "altered": whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :],
    }
    other = path.with_name("other")
    other.write_bytes(spoilt[spoil])
    other.replace(path)
    calls.clear()
    assert content(encoded(make_task(), tokenizer)) == expected
    assert calls
    assert [one.read_bytes() for one in folder.iterdir()] == [whole]


def count_of_calls(make_task: TaskMaker, tokenizer: Any, calls: list[object], queue: Any) -> None:  # noqa: ANN401
    rows = encoded(make_task(), tokenizer, SENTENCES * 400)
    queue.put((len(calls), rows.to_list() == rows.to_list(), len(rows)))


def test_of_several_processes_one_makes_the_file(
    make_task: TaskMaker, tokenizer: PreTrainedTokenizerFast, calls: list[object], folder: Path
) -> None:
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    given = (make_task, tokenizer, calls, queue)
    started = [context.Process(target=count_of_calls, args=given) for _ in range(4)]
    for process in started:
        process.start()
    found = [queue.get(timeout=60) for _ in started]
    for process in started:
        process.join()
    assert sorted(count > 0 for count, *_ in found) == [False, False, False, True]
    assert {rest for _, *rest in map(tuple, found) for rest in rest} == {True, 2000}
    assert [path.suffix for path in folder.iterdir()] == [".arrow"]


def release() -> None:
    """Release all files, as the end of the process does."""
    for path in list(kept._held):
        kept._let_go(path)


def test_the_least_recently_used_go_and_none_that_is_read(
    make_task: TaskMaker,
    tokenizer: PreTrainedTokenizerFast,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def make(text: str) -> set[str]:
        before = {path.name for path in folder.glob("*")}
        encoded(make_task(), tokenizer, [text] * 100)
        return {path.name for path in folder.glob("*")} - before

    first, second = make("a"), make("b")
    for names, at in ((first, 2), (second, 1)):
        for name in names:
            os.utime(folder / name, (at, at))
    _, size = kept.census()
    monkeypatch.setenv(kept.LIMIT, str(size / 2**30))
    third = make("c")
    assert {path.name for path in folder.iterdir()} == first | second | third, "all are read"
    release()
    encoded(make_task(), tokenizer, ["b"] * 100)  # the last use counts, not the creation
    release()
    assert make("d") | second == {path.name for path in folder.iterdir()}
    assert kept.census()[1] <= size


def test_a_file_above_the_limit_is_not_kept(
    make_task: TaskMaker,
    tokenizer: PreTrainedTokenizerFast,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    expected = uncached(monkeypatch, lambda: encoded(make_task(), tokenizer))
    monkeypatch.setenv(kept.LIMIT, "1e-8")
    assert content(encoded(make_task(), tokenizer)) == content(expected)
    assert list(folder.iterdir()) == []


def test_what_cannot_be_kept_is_made_all_the_same(
    make_task: TaskMaker,
    tokenizer: PreTrainedTokenizerFast,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    expected = content(uncached(monkeypatch, lambda: encoded(make_task(), tokenizer)))
    with monkeypatch.context() as patch:
        patch.setattr(kept, "file_sha256", full)
        assert content(encoded(make_task(), tokenizer)) == expected
    assert list(folder.iterdir()) == []
    folder.rmdir()
    folder.write_text("a file")
    for _ in range(2):
        assert content(encoded(make_task(), tokenizer)) == expected
    said = [record.message for record in caplog.records if "cannot be cached" in record.message]
    assert len(said) == 2, "each reason once"


def test_doctor_shows_and_clears_them(
    make_task: TaskMaker,
    tokenizer: PreTrainedTokenizerFast,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert "0 files with 0 MB" in machine.examine_tokens(clear=False).found
    encoded(make_task(), tokenizer)
    shown = machine.examine_tokens(clear=True)
    assert shown.found.startswith(f"1 files with 0 MB in {folder}, 0 removed"), "it is read"
    release()
    (folder / "left-by-a-killed-process").mkdir()
    os.utime(folder / "left-by-a-killed-process", (1, 1))
    shown = machine.examine_tokens(clear=True)
    assert shown.found.startswith(f"0 files with 0 MB in {folder}, 1 removed")
    assert shown.verdict is Verdict.ok
    assert list(folder.iterdir()) == []
    monkeypatch.setenv("XDG_CACHE_HOME", str(Path(__file__)))
    unwritable = machine.examine_tokens(clear=False)
    assert (unwritable.verdict, unwritable.remedy) == (
        Verdict.note,
        "choose another XDG_CACHE_HOME",
    )


@pytest.mark.parametrize("value", ["-1", "much", "inf", "nan"])
def test_a_limit_that_is_none_is_refused_before_the_work(
    value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(kept.LIMIT, value)
    with pytest.raises(GoftError, match=f"{kept.LIMIT}={value}: expected a number of gigabytes"):
        check_inputs(small_runs.composed([]))
    assert machine.examine_tokens(clear=False).verdict is Verdict.fail
