"""Shared fixtures: no network, and `goft` run in the test's process or in a new process."""

from __future__ import annotations

import logging
import os
from importlib.util import find_spec

# Set these before any library is imported: the libraries read them only once.
os.environ.update(
    HF_HUB_OFFLINE="1",
    HF_DATASETS_OFFLINE="1",
    HF_HUB_DISABLE_TELEMETRY="1",
    TOKENIZERS_PARALLELISM="false",
    MPLBACKEND="Agg",
    OMP_NUM_THREADS="1",  # two pytest workers share two cores
    OMP_WAIT_POLICY="PASSIVE",
    GOFT_TOKENS_GB="0",  # no tokenized data is stored in the user's cache folder
)
if find_spec("triton"):  # kernels are interpreted unless the variable is set, as by `make gpu`
    os.environ.setdefault("TRITON_INTERPRET", "1")

import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hydra.core.global_hydra import GlobalHydra

from goft_cli import cli
from tests.support.hub_server import TOKEN, Hub, serving

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Answer:
    """The exit code, output and errors of a command."""

    code: int
    out: str
    err: str


Goft = Callable[..., Answer]


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Skip a file that has no test with the mark given by `-m`, such as `-m slow`."""
    kind = config.option.markexpr
    if not kind.isidentifier() or collection_path.suffix != ".py":
        return None
    return f"pytest.mark.{kind}" not in collection_path.read_text(encoding="utf-8") or None


@pytest.fixture(scope="session", autouse=True)
def blank_curves() -> Iterator[None]:
    """Write a PNG header instead of the curves, which take as long to draw as a run to train.

    `tests/run/test_report.py` tests the real plot.
    """
    from goft_cli.run import summary

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(summary, "save", lambda _, path: path.write_bytes(b"\x89PNG\r\n\x1a\n"))
        yield


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a finished qGOFT run on a two-block BERT; tests must not change it."""
    from goft_cli.run import pipeline
    from tests.support import small_runs

    root = tmp_path_factory.mktemp("trained")
    model, data = small_runs.write_model(root / "model"), small_runs.write_data(root / "data")
    words = small_runs.overrides(model, data, root / "run", *small_runs.TRAINED)
    return pipeline.run(small_runs.composed(words))


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """Yield a stand-in hub server on loopback; the token set here has write access."""
    from datasets import config as datasets_config
    from huggingface_hub import constants

    from goft_cli.system import hub as own_hub
    from goft_cli.system import snapshots

    with serving() as hub:
        for name, value in {"HF_HUB_OFFLINE": "", "no_proxy": "*", "HF_TOKEN": TOKEN}.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        address = hub.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", address)
        monkeypatch.setattr(datasets_config, "HF_ENDPOINT", hub.url)
        for name in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE"):
            monkeypatch.setattr(datasets_config, name, False)
        monkeypatch.setattr(snapshots, "WAITS", (0.0, 0.0))
        snapshots.warn_once.cache_clear()
        snapshots.ask_patiently.cache_clear()
        own_hub.unreachable.cache_clear()
        yield hub
        own_hub.unreachable.cache_clear()


@pytest.fixture(autouse=True)
def plain_logging() -> Iterator[None]:
    """Restore the root logger's level after a test, and remove the stream handlers of Hydra."""
    root = logging.getLogger()
    level = root.level
    yield
    root.setLevel(level)
    root.handlers[:] = [one for one in root.handlers if type(one) is not logging.StreamHandler]


@pytest.fixture
def goft(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Goft:
    """Return a function that runs `goft WORDS...` in this process, from an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(logging, "raiseExceptions", logging.raiseExceptions)
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")

    def run(*words: str) -> Answer:
        monkeypatch.setattr(sys, "argv", ["goft", *words])
        GlobalHydra.instance().clear()
        capsys.readouterr()
        code = cli.main()
        GlobalHydra.instance().clear()
        said = capsys.readouterr()
        return Answer(code, said.out, said.err)

    return run


@pytest.fixture
def goft_process(tmp_path: Path) -> Goft:
    """Return a function that runs `goft WORDS...`, or Python code, in a new process."""

    def run(*words: str, code: str = "", **environment: str) -> Answer:
        program = ["-c", code] if code else ["-m", "goft_cli"]
        paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
        done = subprocess.run(
            [sys.executable, *program, *words],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": paths, **environment},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        return Answer(done.returncode, done.stdout, done.stderr)

    return run
