"""The tree as architecture: imports point one way, light modules stay light, files stay short."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT

PACKAGE = "goft_cli"
MAX_LINES = 300
HEAVY = {"torch", "transformers", "peft", "datasets", "accelerate", "numpy", "evaluate"}
# What a part may import of ours; one that is not named here may import all of it. A part is a
# module or a folder, written with dots.
ALLOWED = {
    "rotation": {"rotation"},
    "tuner": {"tuner", "rotation", "defaults"},
    "geometry": {"tuner", "rotation"},
    "metrics": {"errors"},
    "errors": set[str](),
    "defaults": set[str](),
    "config": {"config", "defaults", "errors"},
    "signals": set[str](),
    "kinds": {"errors"},
    "yaml_files": {"errors", "kinds"},
    "training.checkpoints": {"kinds", "runs.digests"},
    "training.stopping": {"signals"},
    "launching.batches": {"config", "errors"},
    "runs.digests": set[str](),
    "runs.files": {"errors", "kinds", "yaml_files"},
    "runs.lock": {"errors"},
    "runs.written": set[str](),
    "studies.figures": {"runs.files"},
    "studies.statistics": set[str](),
    "studies.tables": set[str](),
    "runs.configuration": {"config", "errors", "runs.files"},
    "runs.run_folder": {
        "config",
        "errors",
        *(f"runs.{name}" for name in ("configuration", "files", "lock", "written")),
    },
}
# What a part must never see: tuner < backbone < adapters < training < pipeline < commands < cli.
LATE = {"job", "verification", "recording", "pipeline", "commands", "cli"}
ADAPTERS = {"adalora", "adapter_files", "adapter_loading", "adapters", "targets"}
METHOD = {"tuner", "rotation", "weights", "backbone", *ADAPTERS}
FORBIDDEN = {
    "tasks": {*METHOD, "training", *LATE},
    "report": {*METHOD, "training", *LATE},
    "weights": {*ADAPTERS, "backbone", "tasks", "training", *LATE},
    "backbone": {*ADAPTERS, "tasks", "training", *LATE},
    "adalora": {*ADAPTERS - {"adalora"}, "backbone", "tasks", "training", *LATE},
    "targets": {*ADAPTERS - {"targets"}, "backbone", "tasks", "training", *LATE},
    "adapter_files": {*ADAPTERS - {"adapter_files"}, "backbone", "tasks", "training", *LATE},
    "adapters": {"adapter_loading", "adapter_files", "tasks", "training", *LATE},
    "adapter_loading": {"tasks", "training", *LATE},
    "training": LATE,
    "training.resuming": {*METHOD, "tasks", "training.trainer"},
    "evaluation": {*METHOD - {"rotation"}, "training", *LATE},
    "pipeline": {"commands", "cli"},
    "commands": {"cli"},
}
LIGHT = {
    "__init__",
    "__main__",
    "cli",
    "command_line",
    "commands",
    "config",
    "defaults",
    "errors",
    "kinds",
    "launching.batches",
    "launching.launch",
    "launching.launch_checks",
    "out_of_memory",
    "preflight",
    "runs.base_files",
    "runs.configuration",
    "runs.digests",
    "runs.files",
    "runs.lock",
    "runs.provenance",
    "runs.record",
    "runs.run_folder",
    "runs.written",
    "secrets",
    "signals",
    "studies",
    "sweeps",
    "yaml_files",
}
"""What every command imports before it knows that there is work to do."""
LIGHT_HOMES = {
    "metrics",
    "sharing.availability",
    "sharing.dataset_files",
    "sharing.hub",
    "sharing.listing",
    "sharing.model_files",
    "sharing.reasons",
    "sharing.snapshots",
}
"""Parts that import the heavy libraries only where they are used."""

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
            folder = module.startswith(PACKAGE) and (ROOT / module.replace(".", "/")).is_dir()
            names = [f"{module}.{alias.name}" for alias in node.names] if folder else [module]
            yield from ((name, node not in late) for name in names)


def dotted(path: Path) -> str:
    """Return a module of ours as imports write it, without the package."""
    name = path.relative_to(ROOT / PACKAGE).with_suffix("").as_posix().replace("/", ".")
    return name.removesuffix(".__init__")


def within(name: str, parts: Iterable[str]) -> bool:
    """Tell whether a module is one of the parts, or in one."""
    return any(f"{name}.".startswith(f"{part}.") for part in parts)


def ours(path: Path, *, early: bool = False) -> set[str]:
    """Return the modules of ours that a file imports, or only those it needs at once."""
    found = {name for name, now in imports(path) if now or not early}
    return {
        name.removeprefix(f"{PACKAGE}.") for name in found if name.startswith(f"{PACKAGE}.")
    } - {"__version__"}


MODULES = sources(PACKAGE)
COMPILERS = {"kernels": {"triton"}, "warp": {"triton"}}
"""What modules of the rotation need beside PyTorch; none is imported unless an engine needs it."""


def ids(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", MODULES, ids=ids)
def test_imports_point_one_way(path: Path) -> None:
    name, seen = dotted(path), ours(path)
    for part, allowed in ALLOWED.items():
        assert not within(name, [part]) or all(within(one, allowed) for one in seen)
    for part, forbidden in FORBIDDEN.items():
        assert not within(name, [part]) or not any(within(one, forbidden) for one in seen)
    assert "scripts" not in {name.split(".")[0] for name, _ in imports(path)}
    assert "tests" not in {name.split(".")[0] for name, _ in imports(path)}


@pytest.mark.parametrize("path", sources(f"{PACKAGE}/rotation"), ids=ids)
def test_rotation_is_torch_and_mathematics(path: Path) -> None:
    roots = {name.split(".")[0] for name, _ in imports(path)}
    assert roots <= {PACKAGE, "torch", *COMPILERS.get(path.stem, ()), *sys.stdlib_module_names}


@pytest.mark.parametrize("path", sources(f"{PACKAGE}/tuner"), ids=ids)
def test_the_tuner_needs_peft_alone(path: Path) -> None:
    roots = {name.split(".")[0] for name, _ in imports(path)}
    assert roots <= {PACKAGE, "torch", "peft", "transformers", *sys.stdlib_module_names}


def test_the_surface_imports_nothing_heavy() -> None:
    for path in (path for path in MODULES if within(dotted(path), LIGHT)):
        early = {name.split(".")[0] for name, now in imports(path) if now}
        assert not early & HEAVY, path


def test_the_surface_imports_only_the_surface() -> None:
    light = LIGHT | LIGHT_HOMES
    for path in (path for path in MODULES if within(dotted(path), light)):
        assert all(within(one, light) for one in ours(path, early=True)), path


@pytest.mark.parametrize("path", sources(PACKAGE, "tests", "scripts"), ids=ids)
def test_files_stay_short(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MAX_LINES
