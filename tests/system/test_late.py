"""Test `when_imported` with every way to import a library, and beside other import hooks."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from typing import Any

import pytest

from goft_cli.system.late import when_imported

NAME = "a_library_of_the_tests"
Seen = list[bool]


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Yield the file of a package that is not imported; undo its import afterwards."""
    file = tmp_path / NAME / "__init__.py"
    file.parent.mkdir()
    file.write_text("from . import part\nwhole = True\n")
    file.with_name("part.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    hooks = list(sys.meta_path)
    yield file
    sys.meta_path[:] = hooks
    for name in [one for one in sys.modules if one.startswith(NAME)]:
        del sys.modules[name]


@pytest.fixture
def seen(library: Path) -> Seen:
    """Return a list that gets, at each call of the action, whether the import was complete."""
    found: Seen = []
    when_imported(NAME, lambda: found.append(importlib.import_module(NAME).whole))
    return found


def is_waiting() -> bool:
    return any(getattr(hook, "name", None) == NAME for hook in sys.meta_path)


def test_it_acts_after_the_first_import_and_leaves(seen: Seen) -> None:
    assert seen == []
    importlib.import_module(f"{NAME}.part")
    assert seen == [True]
    assert not is_waiting()
    importlib.reload(importlib.import_module(NAME))
    assert seen == [True]


def test_it_acts_at_once_where_the_library_is_there(library: Path) -> None:
    importlib.import_module(NAME)
    seen: Seen = []
    when_imported(NAME, lambda: seen.append(True))
    assert seen == [True]
    assert not is_waiting()


def test_who_only_looks_imports_nothing(seen: Seen) -> None:
    for _ in range(2):
        spec = importlib.util.find_spec(NAME)
        assert isinstance(spec and spec.loader, SourceFileLoader)
    assert (seen, is_waiting()) == ([], True)
    importlib.import_module(NAME)
    assert seen == [True]
    loader = sys.modules[NAME].__loader__
    assert isinstance(loader, SourceFileLoader)
    assert "exec_module" not in vars(loader)


def test_a_module_made_from_its_spec_counts(seen: Seen) -> None:
    spec = importlib.util.find_spec(NAME)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[NAME] = module
    spec.loader.exec_module(module)
    assert seen == [True]


def test_after_an_import_that_fails_it_waits_for_the_next(library: Path, seen: Seen) -> None:
    whole = library.read_text()
    library.write_text("raise OSError('the disk')  # and so on\n")
    with pytest.raises(OSError, match="the disk"):
        importlib.import_module(NAME)
    assert (seen, is_waiting()) == ([], True)
    library.write_text(whole)
    importlib.invalidate_caches()
    importlib.import_module(NAME)
    assert seen == [True]


def test_a_library_that_is_not_installed_stays_so(seen: Seen, library: Path) -> None:
    library.unlink()
    library.with_name("part.py").unlink()
    library.parent.rmdir()
    importlib.invalidate_caches()
    assert importlib.util.find_spec(NAME) is None
    with pytest.raises(ModuleNotFoundError, match=NAME):
        importlib.import_module(NAME)
    assert seen == []


class Curious:
    """An import hook like those of other tools: it asks all other hooks, including goft's."""

    def __init__(self) -> None:
        self.executed: list[str] = []
        self.asking = False

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:  # noqa: ANN401
        if name != NAME or self.asking:
            return None
        self.asking = True
        spec = importlib.util.find_spec(name)
        self.asking = False
        assert spec is not None
        loader: Any = spec.loader
        before: Callable[..., None] = loader.exec_module

        def exec_module(module: Any) -> None:  # noqa: ANN401 - a module, or a stand-in
            before(module)
            self.executed.append(module.__name__)

        loader.exec_module = exec_module
        return spec


@pytest.mark.parametrize("first", [True, False])
def test_beside_another_hook_both_have_their_say(seen: Seen, first: bool) -> None:
    other = Curious()
    sys.meta_path.insert(0 if first else 1, other)
    importlib.import_module(NAME)
    assert seen == [True]
    assert set(other.executed) == {NAME}
    assert not is_waiting()


def test_two_wait_for_one_library(seen: Seen) -> None:
    others: Seen = []
    when_imported(NAME, lambda: others.append(True))
    importlib.import_module(NAME)
    assert seen == others == [True]
    assert not is_waiting()


def test_a_loader_that_serves_a_whole_archive_is_left_as_it_was(
    library: Path, seen: Seen, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = library.parent.with_name("all.zip")
    with zipfile.ZipFile(archive, "w") as file:
        for part in ("__init__.py", "part.py"):
            file.write(library.with_name(part), f"{NAME}/{part}")
        file.writestr(f"{NAME}_too.py", "")
    monkeypatch.syspath_prepend(archive)
    importlib.import_module(f"{NAME}_too")
    assert seen == []
    importlib.import_module(NAME)
    assert seen == [True]


@pytest.mark.usefixtures("seen")
def test_a_thread_on_its_way_through_the_hooks_comes_by_all_of_them() -> None:
    """If the hook removed itself from the list in place, a loop over it would skip another hook."""
    before = list(sys.meta_path)
    way = iter(sys.meta_path)
    passed = [next(way) for _ in before[:-1]]
    importlib.import_module(NAME)
    assert not is_waiting()
    assert [*passed, *way] == before


def test_many_threads_act_once(seen: Seen) -> None:
    threads = [threading.Thread(target=importlib.import_module, args=(NAME,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert seen == [True]
