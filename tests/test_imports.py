"""The tree as architecture: imports point one way, light modules stay light, files stay short."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT

PACKAGE = "goft_cli"
MAX_LINES = 300
HEAVY = {"torch", "transformers", "peft", "datasets", "accelerate", "numpy", "evaluate"}
# What each part may import of ours; a part that is not named here may import all of it.
ALLOWED = {
    "rotation": {"rotation"},
    "tuner": {"tuner", "rotation"},
    "geometry": {"geometry", "tuner", "rotation"},
    "metrics": {"metrics", "errors"},
    "errors": set[str](),
    "config": {"config", "errors"},
    "checkpoints": {"checkpoints"},
    "signals": {"signals"},
    "stopping": {"stopping", "signals"},
}
# What a part must never see: tuner < backbone < adapters < trainer < pipeline < commands < cli.
LATE = {"pipeline", "commands", "cli"}
METHOD = {"tuner", "rotation", "backbone", "adapters", "adalora"}
FORBIDDEN = {
    "tasks": {*METHOD, "trainer", *LATE},
    "report": {*METHOD, "trainer", *LATE},
    "backbone": {"adapters", "adalora", "tasks", "trainer", *LATE},
    "adalora": {"adapters", "backbone", "tasks", "trainer", *LATE},
    "adapters": {"tasks", "trainer", *LATE},
    "trainer": LATE,
    "resuming": {*METHOD, "tasks", "trainer", *LATE},
    "evaluation": {"tuner", "backbone", "adapters", "adalora", "trainer", *LATE},
    "pipeline": {"commands", "cli"},
    "commands": {"cli"},
}
LIGHT = [
    "__init__",
    "__main__",
    "batches",
    "cli",
    "completion",
    "composition",
    "flags",
    "launch",
    "launch_checks",
    "leaderboard",
    "nearest",
    "preflight",
    "refusals",
    "run_folder",
    "secrets",
    "signals",
    "suggest",
]
LIGHT_FOLDERS = ["commands", "config", "sweeps"]

Import = tuple[str, bool]


def sources(*folders: str) -> list[Path]:
    """Return the Python files below folders of the repository."""
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def imports(path: Path) -> Iterator[Import]:
    """Yield (module, at module level?) for each import; typing-only imports are left out."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    late = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        for inner in ast.walk(node)
    }
    typing_only = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if node in typing_only:
            continue
        if isinstance(node, ast.Import):
            yield from ((alias.name, node not in late) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: imports are written out in full"
            module = node.module or ""
            yield module, node not in late
            if module == PACKAGE:
                yield from ((f"{PACKAGE}.{alias.name}", node not in late) for alias in node.names)


def part_of(path: Path) -> str:
    """Return the subpackage or module of ours that a file belongs to."""
    first = path.relative_to(ROOT / PACKAGE).parts[0]
    return first.removesuffix(".py")


def ours(path: Path) -> set[str]:
    """Return the parts of ours that a file imports, now or later."""
    names = [name.split(".") for name, _ in imports(path)]
    return {name[1] for name in names if name[0] == PACKAGE and len(name) > 1} - {"__version__"}


MODULES = sources(PACKAGE)


def ids(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", MODULES, ids=ids)
def test_imports_point_one_way(path: Path) -> None:
    part, seen = part_of(path), ours(path)
    if part in ALLOWED:
        assert seen <= ALLOWED[part]
    assert not seen & FORBIDDEN.get(part, set())
    assert "scripts" not in {name.split(".")[0] for name, _ in imports(path)}
    assert "tests" not in {name.split(".")[0] for name, _ in imports(path)}


@pytest.mark.parametrize("path", sources(f"{PACKAGE}/rotation"), ids=ids)
def test_rotation_is_torch_and_mathematics(path: Path) -> None:
    roots = {name.split(".")[0] for name, _ in imports(path)}
    kernels = {"triton"} if path.stem in {"kernels", "warp"} else set()
    assert roots <= {PACKAGE, "torch", *kernels, *sys.stdlib_module_names}


@pytest.mark.parametrize("path", sources(f"{PACKAGE}/tuner"), ids=ids)
def test_the_tuner_needs_peft_alone(path: Path) -> None:
    roots = {name.split(".")[0] for name, _ in imports(path)}
    assert roots <= {PACKAGE, "torch", "peft", "transformers", *sys.stdlib_module_names}


def test_the_surface_imports_nothing_heavy() -> None:
    surface = [ROOT / PACKAGE / f"{name}.py" for name in LIGHT]
    surface += sources(*(f"{PACKAGE}/{folder}" for folder in LIGHT_FOLDERS))
    for path in surface:
        early = {name.split(".")[0] for name, now in imports(path) if now}
        assert not early & HEAVY, path


def test_the_surface_imports_only_the_surface() -> None:
    light = {*LIGHT, *LIGHT_FOLDERS, "errors", "hub", "metrics"}
    for path in MODULES:
        if part_of(path) in light:
            early = {
                name.split(".")[1]
                for name, now in imports(path)
                if now and name.startswith(f"{PACKAGE}.")
            }
            assert early - {"__version__"} <= light, path


@pytest.mark.parametrize("path", sources(PACKAGE, "tests", "scripts"), ids=ids)
def test_files_stay_short(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MAX_LINES
