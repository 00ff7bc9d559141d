"""The comparison with the paper has its stated confidence, and each obstacle to it is named."""

from __future__ import annotations

import statistics
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from goft_cli.config import MeasureConfig, TrainConfig
from goft_cli.run.record import RunRecord
from goft_cli.studies.leaderboard import CONFIDENCE, prediction_radius
from goft_cli.studies.recipes import Cell
from goft_cli.system.errors import GoftError
from goft_cli.verbs.reproduce.comparison import (
    INSIDE,
    NOT_COMPARABLE,
    OUTSIDE,
    REHEARSED,
    Comparison,
    compare_with_paper,
    value,
)
from tests.support.recipe_cells import cell
from tests.support.small_runs import composed

CELL = Cell("table1/rte", "qgoft")
BENCHMARK = {"is_the_benchmark": True}
OWN = {"is_the_benchmark": False}


def run(seed: int, score: float, cfg: TrainConfig, data: dict[str, bool] = BENCHMARK) -> RunRecord:
    record = RunRecord.of(replace(cfg, seed=seed, output_dir="run"))
    metrics = {"headline": {"name": "accuracy", "value": score}}
    vars(record).update(metrics=metrics, manifest={"data": data, "benchmark": None})
    return record


def runs(
    *values: float, adapter: str = "qgoft", data: dict[str, bool] = BENCHMARK
) -> list[RunRecord]:
    cfg = cell("glue/rte", adapter)
    return [run(seed, score, cfg, data) for seed, score in enumerate(values, start=1)]


def judged(*values: float, **changes: Any) -> Comparison:  # noqa: ANN401
    """Return the comparison of seeds' values, in percent, with a paper's 50.00."""
    ours = dict(enumerate(values))
    return replace(Comparison("t/r/m", "accuracy", 2, ours, 50.0, None), **changes)


@given(st.integers(2, 9), st.integers(0, 2**32 - 1))
def test_the_interval_moves_and_grows_with_the_numbers(count: int, seed: int) -> None:
    values = np.random.default_rng(seed).normal(size=count)
    radius = prediction_radius(list(values))
    assert radius > statistics.stdev(map(float, values))
    assert prediction_radius(list(3 * values + 7)) == pytest.approx(3 * radius)


@pytest.mark.parametrize("count", [2, 3, 5])
def test_one_more_run_is_inside_as_often_as_promised(count: int) -> None:
    draws = np.random.default_rng(0).normal(60, 4, size=(4000, count + 1))
    inside = [
        abs(np.mean(ours) - more) <= prediction_radius(list(ours)) for *ours, more in draws.tolist()
    ]
    deviation = (CONFIDENCE * (1 - CONFIDENCE) / len(draws)) ** 0.5
    assert np.mean(inside) == pytest.approx(CONFIDENCE, abs=4 * deviation)


def test_the_rule_decides() -> None:
    assert judged(49.0, 50.0, 51.0).verdict == INSIDE
    assert judged(59.0, 60.0, 61.0).verdict == OUTSIDE
    assert judged(50.0, float("inf")).verdict == OUTSIDE
    # equal seeds are inside only if their mean, rounded as printed, is the paper's number
    assert judged(50.004, 50.004).verdict == INSIDE
    assert judged(50.006, 50.006).verdict == OUTSIDE
    assert judged(50.0, 50.0, obstacle="so").verdict == NOT_COMPARABLE


def test_numbers_of_a_comparison() -> None:
    one = judged(49.0, 52.0)
    assert (one.mean, one.difference) == (50.5, 0.5)
    assert one.deviation == pytest.approx(statistics.stdev([49, 52]))
    assert (judged(49.0).deviation, judged(49.0, paper=None).difference) == (None, None)
    assert (one.recipe, one.method) == ("t/r", "m")


def test_a_comparison_is_in_the_papers_unit() -> None:
    (found,) = compare_with_paper(CELL, runs(0.88, 0.885, 0.89), [], rehearsal=False)
    assert (found.cell, found.measure, found.paper) == ("table1/rte/qgoft", "accuracy", 88.45)
    assert found.ours == {1: 88.0, 2: 88.5, 3: 89.0}
    assert (found.verdict, found.obstacle) == (INSIDE, None)


@pytest.mark.parametrize(
    ("one", "found", "words", "reason"),
    [
        (CELL, runs(0.88), [], "one seed shows no noise"),
        (CELL, runs(0.88, 0.89, data=OWN), [], "the data is not the published one"),
        (CELL, runs(0.88, 0.89), ["trainer.fp16=true"], r"changed the run: trainer\.fp16=true"),
        (CELL, runs(0.88, 0.89), ["model=minilm-l6"], r"changed the run: model=minilm-l6"),
        (Cell("table1/rte", "oft"), runs(0.8, 0.9, adapter="oft"), [], "no learning rate"),
        (Cell("figure4a/rte", "goft-scaled"), runs(0.8, 0.9), [], "the paper prints no number"),
        (Cell("table10/qnli", "goft"), runs(0.8, 0.9), [], "seconds are a property"),
        (Cell("table3/cifar", "goft"), runs(0.8, 0.9), [], "multiples of 1/256"),
    ],
)
def test_what_forbids_a_verdict(
    one: Cell, found: list[RunRecord], words: list[str], reason: str
) -> None:
    for each in found:
        vars(each)["metrics"] |= {"seconds_per_update": 1.0}
    (compared,) = compare_with_paper(one, found, words, rehearsal=False)
    assert compared.verdict == NOT_COMPARABLE
    assert compared.obstacle is not None
    assert reason.replace("\\", "") in compared.obstacle


def test_where_things_are_changes_nothing() -> None:
    words = ["model.path=./deberta", "task.data_dir=./RTE", "trainer.use_cpu=true"]
    (found,) = compare_with_paper(CELL, runs(0.88, 0.89), words, rehearsal=False)
    assert found.obstacle is None


def test_a_benchmark_behind_the_training_counts_as_data() -> None:
    cfg = composed(["task=instruct/alpaca", "model=llama2-7b", "benchmark=mmlu-legacy"])
    found = [run(seed, 0.4, cfg, OWN) for seed in (1, 2)]
    for each in found:
        vars(each)["metrics"] |= {"metrics": {"mmlu/legacy": dict.fromkeys(SHOTS, 0.4)}}
        vars(each)["manifest"] |= {"benchmark": OWN}
    assert {one.obstacle for one in compare_with_paper(MMLU, found, [], rehearsal=False)} == {
        "the data is not the published one"
    }
    for each in found:
        vars(each)["manifest"] |= {"benchmark": BENCHMARK}
    assert {one.obstacle for one in compare_with_paper(MMLU, found, [], rehearsal=False)} == {None}


MMLU = Cell("table2/mmlu-0-shot", "goft")
SHOTS = [f"{name}_0_shot" for name in ("average", "stem", "social_sciences", "humanities", "other")]


def test_a_rehearsal_never_compares() -> None:
    (found,) = compare_with_paper(CELL, runs(0.88, 0.89), [], rehearsal=True)
    assert (found.verdict, found.obstacle) == (NOT_COMPARABLE, REHEARSED)


def test_a_key_that_the_run_lacks_is_named() -> None:
    measure = MeasureConfig(key="metrics.test.f1", paper={"goft": 1.0})
    with pytest.raises(GoftError, match=r"run/metrics.json: .*metrics\.test\.f1"):
        value(runs(0.5)[0], measure)
