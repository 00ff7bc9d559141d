"""The leaderboard has the best runs first, one row for all seeds, and names differing settings."""

from __future__ import annotations

import csv
from copy import deepcopy
from itertools import count
from pathlib import Path

from goft_cli.run.record import RunRecord
from goft_cli.studies.leaderboard import COLUMNS, leaderboard_rows, markdown, told_apart, write_csv
from tests.support.recipe_cells import cell
from tests.support.small_runs import composed

FOLDERS = count()


def run(
    value: float, *, seed: int = 1, up: bool = True, task: str = "t", **trainer: object
) -> RunRecord:
    cfg = deepcopy(cell("demo/acceptability", "goft"))
    cfg.seed, cfg.task.name, cfg.task.greater_is_better = seed, task, up
    cfg.output_dir = f"run{next(FOLDERS)}"
    vars(cfg.trainer).update(trainer)
    record = RunRecord.of(cfg)
    vars(record)["metrics"] = {
        "model": "m",
        "headline": {"name": "score", "value": value},
        "trainable_parameters": 1998,
        "train_seconds": 12.0,
    }
    return record


def scores(results: list[RunRecord]) -> list[str]:
    return [cells[COLUMNS.index("score")] for cells in leaderboard_rows(results)]


def test_the_best_comes_first_whichever_way_is_better() -> None:
    assert scores([run(0.1, max_steps=1), run(0.3, max_steps=2)]) == ["score 0.300", "score 0.100"]
    falling = [run(0.3, up=False, max_steps=1), run(0.1, up=False, max_steps=2)]
    assert scores(falling) == ["score 0.100", "score 0.300"]


def test_seeds_make_one_row_with_its_deviation() -> None:
    (cells,) = leaderboard_rows([run(0.2, seed=1), run(0.4, seed=2)])
    assert dict(zip(COLUMNS, cells, strict=True)) == {
        "task": "t",
        "model": "m",
        "adapter": "goft",
        "changed": "",
        "runs": "2",
        "score": "score 0.300 ± 0.141",  # (0.4 - 0.2) / sqrt(2)
        "best": "0.400",
        "benchmark": "",
        "parameters": "1,998",
        "seconds": "12",
    }


def test_scores_on_benchmarks_have_a_column_where_there_are_any(tmp_path: Path) -> None:
    plain, scored = run(0.1), run(0.2, max_steps=2)
    assert "benchmark" not in markdown([plain])
    scored.cfg.benchmark = composed(["benchmark=mmlu-legacy"]).benchmark
    assert isinstance(scored.metrics, dict)
    scored.metrics["metrics"] = {"mmlu/legacy": {"average_5_shot": 0.25, "stem_5_shot": 0.5}}
    assert "| mmlu/legacy average 5 shot 0.250 |" in markdown([plain, scored])
    write_csv(tmp_path / "runs.csv", [plain, scored])
    lines = csv.DictReader((tmp_path / "runs.csv").read_text().splitlines())
    assert [line["mmlu/legacy.average_5_shot"] for line in lines] == ["0.25", ""]


def test_what_differs_is_named_and_nothing_else() -> None:
    runs = [run(0.1, learning_rate=0.00123456), run(0.2, learning_rate=1e-2)]
    named = ["trainer.learning_rate=0.001235", "trainer.learning_rate=0.01"]
    assert list(told_apart(runs).values()) == named


def test_tasks_are_not_compared() -> None:
    runs = [run(0.9, task="b"), run(0.1, task="a")]
    assert [cells[0] for cells in leaderboard_rows(runs)] == ["a", "b"]
    assert markdown(runs).splitlines()[2].startswith("| a | m | goft |")


def test_the_file_has_a_line_per_run(tmp_path: Path) -> None:
    one, two = run(0.25, max_steps=1), run(0.5, seed=2, max_steps=2)
    write_csv(tmp_path / "runs.csv", [one, two])
    best, _ = csv.DictReader((tmp_path / "runs.csv").read_text().splitlines())
    assert best == {
        "task": "t",
        "model": "m",
        "adapter": "goft",
        "seed": "2",
        "headline": "score",
        "value": "0.5",
        "greater_is_better": "True",
        "parameters": "1998",
        "train_seconds": "12.0",
        "run": str(two.folder.path),
        "changed": "trainer.max_steps=2",
    }
