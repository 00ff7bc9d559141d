"""Digests of files are those of the current bytes, and an unchanged file is hashed only once."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from goft_cli.system import digests as module
from goft_cli.system.digests import (
    ABSENT,
    DIGITS,
    SMALL_BYTES,
    digest_of,
    digests,
    is_made,
    joined_digits,
    note_made,
    program,
    read_with_digest,
    split_digits,
)


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put the cache into the test's folder, and cache the digests of new files at once."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(module, "SETTLED_NS", -(10**9))
    return tmp_path / "cache" / "goft-cli" / "digests"


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Record which files are hashed."""
    done: list[Path] = []
    real = module.file_sha256

    def hash_it(path: Path) -> str:
        done.append(path)
        return real(path)

    monkeypatch.setattr(module, "file_sha256", hash_it)
    return done


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(contents=st.lists(st.binary(max_size=4), min_size=1, max_size=4), data=st.data())
def test_whatever_is_written_in_whatever_order_the_digests_are_of_what_is_there(
    contents: list[bytes], data: st.DataObject, tmp_path: Path
) -> None:
    paths = [tmp_path / name for name in "ab"]
    for content in contents:
        path = data.draw(st.sampled_from(paths))
        before = path.stat().st_ctime_ns if path.is_file() else 0
        path.write_bytes(content)
        os.utime(path, ns=(0, 0))  # all files have the same mtime
        while path.stat().st_ctime_ns == before:  # wait for a tick of the file system's clock
            os.utime(path, ns=(0, 0))
        there = [one for one in paths if one.is_file()]
        assert digests(paths) == {one: sha256(one.read_bytes()) for one in there}


def test_a_file_is_hashed_once(tmp_path: Path, hashed: list[Path]) -> None:
    paths = [tmp_path / name for name in ("a", "b", "absent")]
    for path in paths[:2]:
        path.write_bytes(path.name.encode())
    first = digests(paths)
    assert digests(paths) == first
    assert sorted(hashed) == paths[:2]
    assert digests(paths, fresh=True) == first
    assert len(hashed) == 4


def test_a_file_that_may_still_change_is_not_remembered(
    tmp_path: Path, hashed: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SETTLED_NS", 10**12)
    (tmp_path / "a").write_bytes(b"x")
    digests([tmp_path / "a"])
    digests([tmp_path / "a"])
    assert len(hashed) == 2


def test_content_that_is_read_anyway_is_remembered(tmp_path: Path, hashed: list[Path]) -> None:
    path, content = tmp_path / "large", b"x" * (SMALL_BYTES + 1)
    path.write_bytes(content)
    assert read_with_digest(path) == (content, sha256(content))
    assert digests([path]) == {path: sha256(content)}
    assert hashed == []


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"{", b'{"a": 3}', b'{"a": [[1, 2, 3, 4], "00"]}', b"\xff", b"[" * 9999, b"null"],
)
def test_a_damaged_cache_is_ignored(content: bytes, tmp_path: Path, cache: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"x")
    digests([path])
    (place,) = cache.iterdir()
    place.write_bytes(content)
    assert digests([path]) == {path: sha256(b"x")}
    assert list(json.loads(place.read_text())) == ["a"]


def test_a_cache_that_cannot_be_written_costs_nothing_but_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").write_bytes(b"x")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "a"))
    assert digests([tmp_path / "a"]) == {tmp_path / "a": sha256(b"x")}


def test_several_at_once_leave_a_whole_cache(tmp_path: Path, cache: Path) -> None:
    paths = [tmp_path / str(number) for number in range(40)]
    for path in paths:
        path.write_bytes(path.name.encode())
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda start: digests(paths[start:]), range(16)))
    for start, some in enumerate(found):
        assert some == {path: sha256(path.name.encode()) for path in paths[start:]}
    (place,) = cache.iterdir()
    assert json.loads(place.read_text())


def test_the_cache_is_bounded(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEPT_FOLDERS", 2)
    for name in "abc":
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_bytes(b"x")
        digests([tmp_path / name / "file"])
    assert len(list(cache.iterdir())) == 2
    path = tmp_path / "c" / "other"
    (path.parent / "file").rename(path)
    digests([path])
    newest = max(cache.iterdir(), key=lambda file: file.stat().st_mtime_ns)
    assert list(json.loads(newest.read_text())) == ["other"]


def test_the_hubs_name_saves_the_hashing_until_the_file_is_written_to(
    tmp_path: Path, hashed: list[Path]
) -> None:
    blob = tmp_path / "blobs" / sha256(b"weights")
    blob.parent.mkdir()
    blob.write_bytes(b"weights")
    link = tmp_path / "snapshots" / "model.safetensors"
    link.parent.mkdir()
    link.symlink_to(blob)
    assert digests([link]) == {link: blob.name}
    assert hashed == []
    link.write_bytes(b"WEIGHTS")
    assert digests([link]) == {link: sha256(b"WEIGHTS")}
    assert digests([link], fresh=True) == {link: sha256(b"WEIGHTS")}


@pytest.mark.parametrize("order", [sorted, lambda names: sorted(names, reverse=True)])
def test_the_digits_of_many_files_stay_in_their_order(
    order: Callable[[list[str]], list[str]], tmp_path: Path
) -> None:
    names = order(["a", "b", "gone"])
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(name.encode())
    joined = joined_digits([tmp_path / name for name in names])
    assert len(joined) == len(names) * DIGITS
    expected = {"a": sha256(b"a")[:DIGITS], "b": sha256(b"b")[:DIGITS], "gone": None}
    assert split_digits(joined) == [expected[name] for name in names]
    assert ABSENT in joined


def test_a_page_is_made_until_its_source_or_a_file_of_it_changes(tmp_path: Path) -> None:
    source, names = digest_of({"scores": [0.5, None]}), ["page.html", "loss.png"]
    assert not is_made(tmp_path, source)
    for name in names:
        (tmp_path / name).write_text(name)
    note_made(tmp_path, source, names)
    assert is_made(tmp_path, source)
    assert not is_made(tmp_path, digest_of({"scores": [0.25, None]}))
    (tmp_path / "loss.png").write_text("another")
    assert not is_made(tmp_path, source)
    (tmp_path / "loss.png").unlink()
    assert not is_made(tmp_path, source)
    note_made(tmp_path, source, names)
    assert not is_made(tmp_path, source)


@pytest.mark.parametrize("record", ["", "[]", "{}", '{"source": "", "files": 3}', "\xff"])
def test_a_damaged_record_makes_the_page_again(record: str, tmp_path: Path) -> None:
    (tmp_path / module.MADE).write_text(record, encoding="latin-1")
    assert not is_made(tmp_path, "")


def test_another_program_is_another_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PACKAGE", tmp_path)
    (tmp_path / "page.py").write_text("one")
    before = program("torch")
    assert before == program("torch")
    assert before != program("torch", "numpy")
    (tmp_path / "page.py").write_text("three")
    assert program("torch") != before
