"""The wheel has all files and, installed in a new environment, runs a short training."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import venv
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from goft_cli.rotation.compiled import HEADERS, SOURCE
from goft_cli.system.locations import data_root
from tests.conftest import ROOT
from tests.support.documents import lines_of, text_of_all

COMPOSE = "import json; sys.exit(max(main([*w, '--cfg', 'job']) for w in json.loads(sys.argv[1])))"
"""Prints the configuration of each command in a list."""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel by `make wheel`, from a source distribution: a missing file is noticed."""
    target = tmp_path_factory.mktemp("dist")
    environment = [f"BIN={Path(sys.executable).parent}", "-o", ".venv/installed"]
    build = ["make", "wheel", *environment, f"DIST={target}"]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    return next(target.glob("*.whl"))


def test_wheel_carries_every_config_recipe_and_asset(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        packed = set(archive.namelist())
    root = data_root()
    for folder, kinds in {"configs": "*.yaml", "recipes": "*.yaml"}.items():
        for file in (root / folder).rglob(kinds):
            assert f"goft_cli/{file.relative_to(root)}" in packed
    for file in (root / "goft_cli" / "assets").rglob("*"):
        if file.is_file():
            assert str(file.relative_to(root)) in packed
    sources = {f"goft_cli/rotation/{path.name}" for path in (SOURCE, *HEADERS)}
    assert {"goft_cli/py.typed", *sources} <= packed
    assert not any(name.startswith(("tests/", "scripts/")) for name in packed)


@dataclass(frozen=True)
class Installed:
    """The wheel installed in its own environment, away from the sources.

    The dependencies are those of the tests' environment: only goft-cli comes from the wheel.
    """

    folder: Path

    def run(self, program: str, *words: str) -> str:
        """Run a program of the environment, from another folder; return what it prints."""
        clean = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        command = [str(self.folder / "bin" / program), *words]
        place = self.folder.parent
        done = subprocess.run(
            command, cwd=place, env=clean, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """Install the wheel with pip, without its dependencies, in a new environment."""
    folder = tmp_path_factory.mktemp("user") / "venv"
    venv.create(folder, with_pip=False)
    pip = [sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python")]
    install = ["install", "--no-deps", "--no-index", "--quiet", str(wheel)]
    subprocess.run([*pip, *install], check=True)
    site = next((folder / "lib").glob("python*")) / "site-packages"
    borrowed = [path for path in sys.path if path.endswith("site-packages")]
    (site / "borrowed.pth").write_text("\n".join(borrowed) + "\n", encoding="utf-8")
    return Installed(folder)


@pytest.mark.slow
def test_installed_wheel_trains_from_another_folder(installed: Installed) -> None:
    words = ["trainer.max_steps=3", "trainer.num_train_epochs=1", "output_dir=run"]
    installed.run("goft", "train", *words)
    run = installed.folder.parent / "run"
    assert json.loads((run / "metrics.json").read_text())["task"] == "demo/acceptability"
    assert "goft predict" in installed.run("goft", "--help")
    where = installed.run("python", "-c", "import goft_cli; print(goft_cli.__file__)")
    assert where.startswith(str(installed.folder))


def test_the_extras_that_the_documents_install_are_offered(wheel: Path) -> None:
    extras = re.findall(r"'goft-cli\[([\w-]+)\]'", text_of_all())
    assert extras
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        offered = archive.read(name).decode()
    assert [extra for extra in extras if f"Provides-Extra: {extra}\n" not in offered] == []


@pytest.mark.slow
def test_the_front_page_composes_from_the_installed_wheel(installed: Installed) -> None:
    lines = [shlex.split(line)[1:] for line in lines_of("goft train", "goft plan")]
    composed = [line for line in lines if not {"-m", "--config-dir", "--cfg"} & set(line)]
    assert len(composed) > 5
    script = f"import sys; from goft_cli.cli import main; {COMPOSE}"
    printed = installed.run("python", "-c", script, json.dumps(composed))
    assert printed.count("\noutput_dir: ") == len(composed)
