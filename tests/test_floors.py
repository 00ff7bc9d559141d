"""Each file imports only from its own layer (floor) or a lower one, and imports form no cycle.

The imports are read from the text of every file. So late imports, imports for type checkers and
modules named in `import_module("...")` count too.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from tests.conftest import ROOT

FLOORS = (
    "rotation",
    "system",
    "config",
    "tuner",
    "data",
    "tasks",
    "models",
    "training",
    "run",
    "compose",
    "studies",
    "verbs",
    "cli",
)
"""The folders of the package, from the lowest layer to the highest."""
FACADES = {
    "goft_cli": "cli",
    "goft_cli.penalty": "tuner",
    "goft_cli.preflight": "system",
    "goft_cli.__main__": "cli",
}
"""Modules at the root of the package, with the layer that each belongs to."""
LONGEST_FILE, MOST_FILES = 300, 228


def package_files() -> list[Path]:
    return sorted((ROOT / "goft_cli").rglob("*.py"))


@cache
def modules() -> dict[str, Path]:
    return {name_of(path): path for path in package_files()}


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def floor_of(module: str) -> int:
    return FLOORS.index(FACADES.get(module) or module.split(".")[1])


def imports(module: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(modules()[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in modules() else node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.Constant) and node.value in modules().keys() - {"goft_cli"}:
            yield str(node.value)


def own_imports(module: str) -> set[str]:
    return {found for found in imports(module) if found in modules()} - {module}


@pytest.mark.parametrize("floor", FLOORS)
def test_imports_go_down_or_stay(floor: str) -> None:
    upward = [
        f"{module} imports {found}"
        for module in modules()
        if floor_of(module) == FLOORS.index(floor)
        for found in own_imports(module)
        if floor_of(found) > floor_of(module)
    ]
    assert not upward


def test_files_import_one_another_in_no_circle() -> None:
    try:
        TopologicalSorter({module: own_imports(module) for module in modules()}).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_every_file_stands_on_a_floor() -> None:
    package = ROOT / "goft_cli"
    folders = {path.parent.name for path in package.glob("*/__init__.py")}
    assert folders == set(FLOORS)
    at_the_root = {module for module in modules() if module.count(".") < 2} - {
        f"goft_cli.{floor}" for floor in FLOORS
    }
    assert at_the_root == set(FACADES)


def test_rotation_is_mathematics_on_torch_alone() -> None:
    """Check that the rotation imports no other part of goft_cli: it could become a part of PEFT."""
    found = {
        name.split(".")[0]
        for module in modules()
        if floor_of(module) == FLOORS.index("rotation")
        for name in imports(module)
        if not name.startswith("goft_cli.rotation")
    }
    assert "goft_cli" not in found


def test_files_are_few_and_short_and_no_folder_holds_a_single_one() -> None:
    assert len(package_files()) <= MOST_FILES
    lengths = {
        str(path): len(path.read_text(encoding="utf-8").splitlines()) for path in package_files()
    }
    assert not {path: length for path, length in lengths.items() if length > LONGEST_FILE}
    folders = [path.parent for path in package_files()]
    assert not [folder for folder in folders if folders.count(folder) == 1]
