"""Every metric folder is a module that `evaluate` itself can load and describe, offline."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import evaluate
import pytest
from evaluate import config

from goft_cli import metrics
from goft_cli.errors import GoftError

ROOT = Path(metrics.__file__).parent
NAMES = sorted(folder.name for folder in ROOT.iterdir() if (folder / f"{folder.name}.py").is_file())
LABELS = ([0, 1, 1, 0], [0, 1, 0, 0])
TEXTS = (["a dog", "cat"], [["dog"], ["bird", "fish"]])


def example(name: str) -> tuple[list[Any], list[Any]]:
    """Return predictions and references that a metric takes."""
    return TEXTS if name in metrics.OF_TEXTS else LABELS


def test_every_folder_is_available() -> None:
    assert metrics.available() == [name for name in NAMES if name not in metrics.OF_TEXTS]
    assert set(NAMES) > metrics.OF_TEXTS
    assert len(NAMES) >= 6


@pytest.fixture(scope="module")
def _own_module_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One folder for all: evaluate imports it as one package, which Python imports only once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [*sys.path])
        folder = tmp_path_factory.mktemp("modules")
        patch.setattr(config, "HF_MODULES_CACHE", str(folder))
        yield


@pytest.mark.usefixtures("_own_module_cache")
@pytest.mark.parametrize("name", NAMES)
def test_evaluate_loads_it_from_its_folder(name: str, tmp_path: Path) -> None:
    module = evaluate.load(str(ROOT / name), cache_dir=str(tmp_path), keep_in_memory=True)
    predictions, references = example(name)
    found = module.compute(predictions=predictions, references=references)
    assert found == metrics.compute([name], predictions, references)
    assert module.description


@pytest.mark.parametrize("name", NAMES)
def test_it_leaves_nothing_behind(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    metrics.compute([name], *example(name))
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_metric_is_answered_with_the_choices() -> None:
    with pytest.raises(GoftError, match=r"unknown metric 'acuracy'; choose from accuracy, .*f1"):
        metrics.check_names(["acuracy"], headline="acuracy")


def test_the_headline_must_be_computed() -> None:
    with pytest.raises(GoftError, match=r"task.headline=f1 is not among task.metrics \(accuracy\)"):
        metrics.check_names(["accuracy"], headline="f1")
