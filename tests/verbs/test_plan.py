"""`goft plan` counts exactly, forecasts memory, and names the paper's result and downloads."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from goft_cli.config import ModelConfig, Optimizer, Quantization
from goft_cli.run.folder import RunFolder
from goft_cli.run.summary import summary_table
from goft_cli.verbs.plan import calibration
from goft_cli.verbs.plan.forecast import published
from goft_cli.verbs.plan.layers import (
    adapted_layers,
    attached,
    equivalents,
    evaluations,
    matched_sizes,
    within_block,
)
from goft_cli.verbs.plan.memory import optimizer_bytes, saved_by_packing
from tests.conftest import Goft
from tests.support import small_runs
from tests.support.parameter_counts import SMALL
from tests.verbs.conftest import words

PLAN_AND_TRAIN = """
import sys
from goft_cli.cli import main
sys.exit(main(["plan", *sys.argv[1:]]) or main(["train", *sys.argv[1:]]))
"""
PEAK_TOLERANCE = 0.15
"""The relative error allowed of a memory forecast; the allocator causes most of it."""


def planned(goft: Goft, *words: str) -> tuple[str, dict[str, Any]]:
    answer = goft("plan", *words)
    assert answer.code == 0, answer.err
    return " ".join(answer.out.split()), json.loads(Path("run.plan.json").read_text())


def test_a_plan_needs_no_weights(goft: Goft, place: Path) -> None:
    said, plan = planned(goft, *words(place, "adapter=qgoft"))
    for one in plan["layers"]:
        assert one["stages"] == math.ceil(math.log2(one["inputs"]))
        assert one["parameters"] == 4 * (one["inputs"] - 1)
    assert plan["forecast"]["trainable_parameters"] == SMALL.trained("qgoft")
    assert (plan["rows"], plan["updates"]) == (48, 2 * 6)
    assert plan["batch"][0] == 8
    assert plan["timing"] is None
    assert "48, counted" in said
    assert f"peak, with the longest batch (8 x {plan['batch'][1]})" in said
    assert "group_by_length" not in said
    assert "to download: nothing" in said
    assert not Path("run").exists()


def test_rows_of_like_length_have_their_peak_first(goft: Goft, place: Path) -> None:
    order = "trainer.train_sampling_strategy=group_by_length"
    said, _ = planned(goft, *words(place, order))
    assert "the first update has the longest batch" in said


def test_rows_on_the_hub_are_counted_as_published(
    goft: Goft, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calibration, "measure_apart", calibration.measure)
    said, plan = planned(goft, *words(place, "task.data_dir=null", "calibrate=true"))
    assert (plan["rows"], plan["updates"]) == (8551, 2 * 1069)
    assert plan["downloads"] == ["dataset nyu-mll/glue"]
    assert plan["cached"] == []
    assert "rows of the hub are not read" in said
    timing = plan["timing"]
    assert 0 < timing["scored_row"] < timing["update"]
    expected = plan["updates"] * timing["update"] + 2 * 1043 * timing["scored_row"]
    assert plan["forecast"]["train_seconds"] == pytest.approx(expected)


def test_what_does_not_fit_is_not_timed(
    goft: Goft, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("goft_cli.verbs.plan.forecast.free_bytes", lambda _: 2**20)
    said, plan = planned(goft, *words(place, "calibrate=true"))
    assert plan["forecast"]["train_seconds"] is None
    assert "too large for here, where 1 MB are free" in said
    assert "no forecast of time" in said


def test_a_model_that_cannot_be_traced_is_planned_all_the_same(
    goft: Goft, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ask(self: nn.Linear, x: torch.Tensor) -> torch.Tensor:
        return x if x.sum().item() else -x

    monkeypatch.setattr(nn.Linear, "forward", ask)
    said, plan = planned(goft, *words(place))
    assert plan["forecast"]["peak_memory_bytes"] is None
    assert plan["forecast"]["trainable_parameters"] == SMALL.trained("goft")
    assert "no forecast of memory: BertForSequenceClassification" in said


@pytest.mark.slow
def test_a_run_takes_what_its_plan_foresaw(goft_process: Goft, tmp_path: Path) -> None:
    demo = ["trainer.use_cpu=true", "trainer.max_steps=2", "output_dir=run"]
    answer = goft_process(*demo, code=PLAN_AND_TRAIN)
    assert answer.code == 0, answer.err
    metrics = json.loads(RunFolder(tmp_path / "run").metrics.read_text())
    forecast = metrics["forecast"]
    for key in ("trainable_parameters", "head_parameters"):
        assert forecast[key] == metrics[key]
    measured = metrics["peak_memory_bytes"]
    assert forecast["peak_memory_bytes"] == pytest.approx(measured, rel=PEAK_TOLERANCE)
    assert summary_table(metrics).columns[-1] == "forecast"


def test_equal_budgets_are_those_of_a_comparison(place: Path) -> None:
    adapters = ("qgoft", "lora", "oft")
    runs = {name: small_runs.composed(words(place, f"adapter={name}")) for name in adapters}
    first = runs["qgoft"]
    layers = adapted_layers(attached(first, first.adapter), first.model.head_modules or [])
    found = equivalents(layers, SMALL.trained("qgoft"))
    sizes = matched_sizes(runs, "qgoft")
    assert {name: count for name, (_, count) in found.items()} == {
        name: sizes[name].parameters for name in ("lora", "oft")
    }
    assert equivalents([], 0) == {}


@pytest.mark.parametrize(
    ("words", "cell", "score"),
    [
        (["adapter=qgoft"], "table1/cola/qgoft", 72.08),
        (["adapter=oft"], "table1/cola/oft", 70.82),
        (["adapter=oft", "adapter.oft_block_size=8"], "table1/cola/oft-b8", 71.76),
    ],
)
def test_the_cell_of_the_paper(words: list[str], cell: str, score: float) -> None:
    found = published(small_runs.composed(["task=glue/cola", "model=deberta-v3-base", *words]))
    assert found is not None
    assert (found.name, found.values) == (cell, {"matthews_correlation": score})


def test_most_runs_are_not_in_the_paper() -> None:
    assert published(small_runs.composed(["task=glue/cola", "model=minilm-l6"])) is None


@pytest.mark.parametrize(
    ("optimizer", "moments"),
    [(Optimizer.adamw_torch, 2 * 12), (Optimizer.sgd, 0), (Optimizer.adafactor, 3 + 4)],
)
def test_optimizers_keep(optimizer: Optimizer, moments: int) -> None:
    assert optimizer_bytes(torch.empty(3, 4, device="meta"), optimizer) == 4 * moments


def test_packed_weights_take_a_quarter_and_the_head_does_not_shrink() -> None:
    model = nn.ModuleDict({"query": nn.Linear(64, 64), "classifier": nn.Linear(64, 64)})
    model.requires_grad_(False).to(torch.bfloat16)
    cfg = ModelConfig(head_modules=["classifier"], quantization=Quantization["4bit"])
    whole = 2 * 64 * 64
    assert saved_by_packing(model, cfg) == pytest.approx(whole * (1 - 4.127 / 16), rel=1e-3)
    assert saved_by_packing(model, ModelConfig(head_modules=["classifier"])) == 0


@pytest.mark.parametrize(
    ("words", "times"),
    [
        ([], 3),
        (["trainer.eval_strategy=steps", "trainer.eval_steps=4"], 5),
        (["trainer.eval_strategy=steps", "trainer.eval_steps=0.25"], 4),
        (["task.eval_splits=[]", "task.headline_split=train_sample"], 0),
    ],
)
def test_how_often_a_training_is_interrupted_to_score(words: list[str], times: int) -> None:
    assert evaluations(small_runs.composed(words), updates=20, updates_per_epoch=8) == times


@pytest.mark.parametrize(
    ("name", "within"),
    [("bert.encoder.layer.11.output.dense", "output.dense"), ("classifier", "classifier")],
)
def test_names_within_a_block(name: str, within: str) -> None:
    assert within_block(name) == within
