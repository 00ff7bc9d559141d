"""Light commands import no heavy package, imports form no cycle, rotations need only PyTorch."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

from goft_cli.compose.words import VERBS, WITHOUT_CONFIG
from tests.conftest import ROOT, Goft

PACKAGE = "goft_cli"
MAX_LINES = 300
HEAVY = (
    "torch",
    "transformers",
    "peft",
    "datasets",
    "accelerate",
    "numpy",
    "matplotlib",
    "huggingface_hub",
    "rich",
)
COMPOSED = [f"{verb} --cfg job" for verb in VERBS if verb not in WITHOUT_CONFIG]
LIGHT = ["--help", "train --help", *COMPOSED, "train sed=1"]
ANSWER = f"""
import sys
from hydra.core.global_hydra import GlobalHydra
from goft_cli.cli import main
for line in {LIGHT!r}:
    sys.argv = ["goft", *line.split()]
    code = main()
    GlobalHydra.instance().clear()
    heavy = [name for name in {HEAVY!r} if name in sys.modules]
    assert code == (2 if "sed" in line else 0), (line, code)
    assert not heavy, (line, heavy)
"""
COMPILERS = {"kernels": {"triton"}, "warp": {"triton"}}
"""Packages that a module of the rotation may import besides PyTorch, by the module's name."""


def imports(path: Path) -> Iterator[tuple[str, bool]]:
    """Yield (module, at module level?) for each import; typing-only imports are left out."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    inside: dict[str, set[ast.AST]] = {"function": set(), "typing": set()}
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            inside["function"].update(ast.walk(node))
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            inside["typing"].update(ast.walk(node))
    for node in ast.walk(tree):
        early = node not in inside["function"]
        if node in inside["typing"]:
            continue
        if isinstance(node, ast.Import):
            yield from ((alias.name, early) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            folder = (ROOT / module.replace(".", "/")).is_dir()
            names = [f"{module}.{alias.name}" for alias in node.names] if folder else [module]
            yield from ((name, early) for name in names)


def sources(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


def dotted(path: Path) -> str:
    """Return a module's name as imports write it."""
    name = path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".")
    return name.removesuffix(".__init__")


def roots(path: Path) -> set[str]:
    return {name.partition(".")[0] for name, _ in imports(path)} - sys.stdlib_module_names


def test_light_answers_import_nothing_heavy(goft_process: Goft) -> None:
    answer = goft_process(code=ANSWER)
    assert answer.code == 0, answer.err


def test_each_module_can_be_imported_first() -> None:
    """Check that the imports at module level form no cycle."""
    names = {dotted(path) for path in sources(PACKAGE)}
    needs: dict[str, set[str]] = {}
    for path in sources(PACKAGE):
        found = {name for name, early in imports(path) if early and name.startswith(PACKAGE)}
        known = {name if name in names else name.rpartition(".")[0] for name in found}
        needs[dotted(path)] = known - {dotted(path)}
    TopologicalSorter(needs).prepare()  # raises CycleError, which shows the cycle


def test_rotation_is_torch_and_mathematics() -> None:
    for path in sources(f"{PACKAGE}/rotation"):
        assert roots(path) <= {PACKAGE, "torch", *COMPILERS.get(path.stem, ())}, path


def test_the_tuner_needs_peft_alone() -> None:
    for path in sources(f"{PACKAGE}/tuner"):
        assert roots(path) <= {PACKAGE, "torch", "peft", "transformers"}, path


def test_the_package_needs_neither_tests_nor_scripts() -> None:
    for path in sources(PACKAGE):
        assert not roots(path) & {"tests", "scripts"}, path


def test_files_stay_short() -> None:
    files = [path for folder in (PACKAGE, "tests", "scripts") for path in sources(folder)]
    long = [path for path in files if len(path.read_text("utf-8").splitlines()) > MAX_LINES]
    assert long == []
