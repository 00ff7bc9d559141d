"""The loops in C are compiled once, without a warning, even if the user's cache is not writable."""

from __future__ import annotations

import ctypes
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from goft_cli.rotation import compiled

pytestmark = pytest.mark.skipif(not compiled.can_build(), reason="needs a C compiler")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the cache folder of goft in the user's cache, which does not exist yet."""
    home = tmp_path / "home" / "cache"
    monkeypatch.setenv("XDG_CACHE_HOME", str(home))
    return home / "goft-cli"


def compiler_that_says(text: str, folder: Path) -> str:
    """Return the path of a command that writes `text` to stderr and fails."""
    script = folder / "compiler"
    script.write_text(f"#!/bin/sh\necho '{text}' >&2\nexit 4\n", encoding="utf-8")
    script.chmod(0o755)
    return str(script)


def works(library: ctypes.CDLL) -> bool:
    return all(
        hasattr(library, name) for name in ("join", "padded_size", "pack", "turn", "pullback")
    )


def test_the_source_gives_no_warning(tmp_path: Path) -> None:
    strict = ["-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Wconversion", "-Wno-sign-conversion"]
    words = [*compiled.command(), *compiled.FLAGS, *strict, "-Werror", str(compiled.SOURCE), "-o"]
    done = subprocess.run(
        [*words, str(tmp_path / "loops.so")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_it_is_compiled_once(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert works(compiled.load())
    (kept,) = cache.iterdir()
    monkeypatch.setattr(compiled, "_compile", lambda target: pytest.fail("compiled again"))
    assert works(compiled.load())
    assert [kept] == list(cache.iterdir())


def test_another_source_or_processor_is_another_file(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled.load()
    changed = tmp_path / "loops.c"
    changed.write_bytes(compiled.SOURCE.read_bytes() + b"\n")
    with monkeypatch.context() as patched:
        patched.setattr(compiled, "SOURCE", changed)
        compiled.load()
    monkeypatch.setattr(
        compiled, "FLAGS", tuple(one for one in compiled.FLAGS if "march" not in one)
    )
    compiled.load()
    assert len(list(cache.iterdir())) == 3


def test_many_at_once_leave_one_file(cache: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        assert all(works(one) for one in pool.map(lambda _: compiled.load(), range(4)))
    assert len(list(cache.iterdir())) == 1


def test_a_file_that_cannot_be_loaded_is_made_anew(cache: Path) -> None:
    compiled.load()
    (kept,) = cache.iterdir()
    right = kept.read_bytes()
    kept.unlink()  # a loaded file must not be overwritten in place
    kept.write_bytes(b"of another system")
    assert works(compiled.load())
    assert kept.read_bytes() == right


def test_a_home_that_cannot_be_written_is_done_without(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.parent.parent.write_text("a file, not a folder", encoding="utf-8")
    assert works(compiled.load())


def test_a_user_without_a_home_is_served(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """In a container a user may have no home."""
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr("os.path.expanduser", lambda path: path)  # as it does without a home
    monkeypatch.chdir(tmp_path)
    assert works(compiled.load())
    assert not list(tmp_path.iterdir())


def test_a_compiler_that_fails_is_named_with_its_reason(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    says = "loops.c:10: fatal error: math.h: No such file"
    monkeypatch.setenv("CC", f"{compiler_that_says(says, tmp_path)} -m32")
    assert compiled.can_build()
    with pytest.raises(RuntimeError, match=f"compiler cannot compile loops.c, {says}"):
        compiled.load()
    assert not list(cache.iterdir())


@pytest.mark.parametrize(
    ("value", "there"), [("", True), ("  ", True), ("no-such-compiler", False)]
)
def test_the_environment_names_the_compiler(
    value: str, there: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CC", value)
    assert compiled.can_build() is there
