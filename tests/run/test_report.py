"""Test what users read: the applied recipe, the final table, predictions and curves."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets import Dataset
from matplotlib.image import imread
from rich.console import Console

from goft_cli.run import summary
from goft_cli.run.folder import RunFolder
from goft_cli.system.figures import save
from goft_cli.system.files import write_json
from goft_cli.tasks.base import Split
from goft_cli.tasks.families import build_task
from tests.support.recipe_cells import cell
from tests.support.small_runs import composed

METRICS: dict[str, Any] = {
    "task": "glue/cola",
    "model": "tiny",
    "adapter": "qgoft",
    "headline": {"name": "matthews_correlation", "value": 0.12345},
    "metrics": {"validation": {"matthews_correlation": 0.12345, "accuracy": 0.75}},
    "trainable_parameters": 331488,
    "head_parameters": 1234,
    "train_seconds": 12.34,
    "samples_per_second": 567.89,
    "peak_memory_bytes": 3 * 2**30,
    "agreement": {"merged": 1.5e-7},
}
DEVIATIONS = {"train": (48, 8551)}
NOTICE = "not the benchmark: train has 48 rows, the published split has 8551"
PAPER = "arXiv:2404.04316 Table 5"


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    """Return an empty run folder, with the real plot of curves enabled."""
    monkeypatch.setattr(summary, "save", save)
    return RunFolder(tmp_path)


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Console:
    """Return a wide console that records its output, in place of the screen."""
    console = Console(record=True, width=200, quiet=False)
    monkeypatch.setattr(summary, "screen", console)
    return console


def test_the_papers_row_is_named() -> None:
    described = summary.describe_recipe(composed(["task=glue/rte", "model=deberta-v3-base"]))
    assert described.startswith(PAPER)
    assert "tuned for" not in described
    assert "overridden" not in described


def test_another_model_is_said() -> None:
    described = summary.describe_recipe(cell("glue/rte", "goft"))
    assert "tuned for deberta-v3-base, not for tiny-deberta-v3" in described
    same_weights = composed(["task=vtab/cifar", "model=vit-b16-qv"])
    assert "tuned for" not in summary.describe_recipe(same_weights)


def test_an_adapter_without_a_row_is_said() -> None:
    assert "no row for linear" in summary.describe_recipe(cell("glue/rte", "linear"))
    assert "no row" not in summary.describe_recipe(cell("glue/rte", "goft-scaled"))


def test_overridden_values_are_shown_with_the_recipes() -> None:
    words = ["trainer.learning_rate=0.5", "trainer.num_train_epochs=2"]
    cfg = composed(["task=glue/rte", "adapter=qgoft", "adapter.penalty_weight=0", *words])
    shared, _, overridden = summary.describe_recipe(cfg).partition("; overridden: ")
    assert shared.startswith(PAPER)
    assert set(overridden.split(", ")) == {
        "num_train_epochs 30 -> 2.0",
        "learning_rate 0.002 -> 0.5",
        "penalty_weight 0.05 -> 0.0",
    }


def test_repeating_the_recipe_overrides_nothing() -> None:
    cfg = composed(["task=glue/rte", "trainer.learning_rate=2e-3", "trainer.num_train_epochs=30"])
    assert "overridden" not in summary.describe_recipe(cfg)


def test_data_of_another_size_is_not_the_benchmark() -> None:
    assert summary.describe_deviations(DEVIATIONS) == [NOTICE]
    assert summary.describe_deviations({}) == []


def test_the_summary_holds_every_number(run: RunFolder, screen: Console) -> None:
    summary.show_summary(run, METRICS, DEVIATIONS)
    shown = screen.export_text()
    rows = {
        cells[0]: cells[1]
        for line in shown.splitlines()
        if len(cells := [cell.strip() for cell in line.strip("│┃ ").split("│")]) == 2
    }
    assert rows == {
        "matthews_correlation": "0.1235",
        "validation matthews_correlation": "0.1235",
        "validation accuracy": "0.7500",
        "adapter parameters": "331,488",
        "head parameters": "1,234",
        "training time": "12.3 s",
        "samples per second": "567.9",
        "peak memory": "3,072 MB",
        "merged against trained": "1.5e-07",
    }
    assert "glue/cola  tiny  qgoft" in shown
    assert NOTICE in shown
    assert f"run folder: {run.path}" in shown


def test_a_finished_run_says_what_it_said_before(run: RunFolder, screen: Console) -> None:
    write_json(run.metrics, METRICS)
    write_json(run.manifest, {"data": {"size_deviations": DEVIATIONS}})
    summary.show_finished(run)
    shown = screen.export_text()
    assert "this run is already finished; overwrite=true trains it again" in shown
    assert "0.1235" in shown
    assert NOTICE in shown


def test_scores_of_another_evaluation(run: RunFolder, screen: Console) -> None:
    scores = {"validation": {"accuracy": 0.5}}
    summary.show_scores("glue/rte  goft", scores, DEVIATIONS, run.path / "eval.json")
    shown = screen.export_text()
    assert "validation accuracy" in shown
    assert "0.5000" in shown
    assert NOTICE in shown
    assert f"scores: {run.path / 'eval.json'}" in shown


def test_predictions_stand_beside_their_rows(run: RunFolder) -> None:
    config = replace(cell("demo/acceptability", "goft").task, data_dir=None)
    rows = Dataset.from_dict({"sentence": ["naïve ones", "two"], "label": [1, 0]})
    outputs = {"validation": np.array([[3.0, 0.0], [0.0, 3.0]], np.float32)}
    summary.write_predictions(run, build_task(config), {"validation": Split(rows, rows)}, outputs)
    written = (run.path / "predictions.validation.jsonl").read_text(encoding="utf-8")
    first, second = (json.loads(line) for line in written.splitlines())
    assert "naïve" in written
    assert (first["sentence"], first["label"]) == ("naïve ones", 1)
    assert first["prediction"]["label"] == "unacceptable"
    assert second["prediction"]["label"] == "acceptable"


HISTORY = [
    {"step": 1, "loss": 0.9},
    {"step": 2, "eval_loss": 0.8, "eval_accuracy": 0.5},
    {"step": 3, "loss": 0.7},
    {"step": 4, "eval_loss": 0.6, "eval_accuracy": 0.9},
    {"train_runtime": 1.0, "step": 4},
]


def drawn(run: RunFolder) -> tuple[bool, bool]:
    """Return whether the left and the right panel of `curves.png` have coloured pixels."""
    image = imread(run.path / "curves.png")[..., :3]
    assert image.shape == (442, 1170, 3)
    coloured = np.ptp(image, axis=2) > 0.3
    return bool(coloured[:, :585].any()), bool(coloured[:, 585:].any())


def test_both_curves_are_drawn(run: RunFolder) -> None:
    summary.plot_curves(run, HISTORY, "accuracy", "qgoft")
    assert (run.path / "curves.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    assert drawn(run) == (True, True)


def test_a_run_too_short_for_curves_leaves_empty_panels(run: RunFolder) -> None:
    summary.plot_curves(run, [], "accuracy", "qgoft")
    assert drawn(run) == (False, False)


def test_a_single_evaluation_is_a_point(run: RunFolder) -> None:
    summary.plot_curves(run, HISTORY[1:2], "accuracy", "qgoft")
    assert drawn(run) == (True, True)
