"""The wheel alone, in a new environment and another folder, runs a short training."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

from goft_cli.command_line.store import data_root


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build from a source distribution, so that what it lacks is missed."""
    target = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(target)]
    subprocess.run([*build, str(data_root())], check=True, capture_output=True)
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
    assert {"goft_cli/py.typed", "goft_cli/rotation/loops.c"} <= packed
    assert not any(name.startswith(("tests/", "scripts/")) for name in packed)


@pytest.mark.slow
def test_installed_wheel_trains_from_another_folder(wheel: Path, tmp_path: Path) -> None:
    # The heavy packages are this environment's own: only goft-cli itself comes from the wheel.
    environment = tmp_path / "venv"
    venv.create(environment, with_pip=False)
    python = environment / "bin" / "python"
    site = next((environment / "lib").glob("python*")) / "site-packages"
    install = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-index", "--quiet"]
    subprocess.run([*install, "--target", str(site), str(wheel)], check=True)
    borrowed = [path for path in sys.path if path.endswith("site-packages")]
    (site / "borrowed.pth").write_text("\n".join(borrowed) + "\n", encoding="utf-8")
    words = ["trainer.max_steps=3", "trainer.num_train_epochs=1", "output_dir=run"]
    clean = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [str(python), "-m", "goft_cli", "train", *words],
        cwd=tmp_path,
        env=clean,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics["task"] == "demo/acceptability"
    where = [str(python), "-c", "import goft_cli; print(goft_cli.__file__)"]
    found = subprocess.run(where, cwd=tmp_path, env=clean, capture_output=True, text=True)
    assert found.stdout.startswith(str(environment))
