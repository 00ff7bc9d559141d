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
    with pytest.raises(GoftError, match=r"'acuracy'.*accuracy, .*f1"):
        metrics.check_names(["acuracy"], headline="acuracy", classes=2)


def test_the_headline_must_be_computed() -> None:
    with pytest.raises(GoftError, match=r"task.headline=f1 .*task.metrics.*accuracy"):
        metrics.check_names(["accuracy"], headline="f1", classes=2)


@pytest.mark.usefixtures("_own_module_cache")
def test_metrics_of_numbers_are_those_that_say_so() -> None:
    taken = {
        name: evaluate.load(str(ROOT / name), keep_in_memory=True).features["predictions"].dtype
        for name in metrics.available()
    }
    assert {name for name, dtype in taken.items() if dtype == "float64"} == metrics.OF_NUMBERS


@pytest.mark.parametrize(
    ("name", "classes"), [("accuracy", 0), ("matthews_correlation", 0), ("f1", 0), ("f1", 3)]
)
def test_a_metric_that_does_not_fit_the_labels_is_refused(name: str, classes: int) -> None:
    with pytest.raises(GoftError, match=rf"task\.metrics: {name} .*{classes}"):
        metrics.check_names([name], headline=name, classes=classes)


@pytest.mark.parametrize("classes", [0, 2, 3])
def test_a_correlation_takes_numbers_and_ordered_classes(classes: int) -> None:
    metrics.check_names(["pearson"], headline="pearson", classes=classes)
