"""Runs side by side: the best first whichever way is better, seeds together, settings apart."""

from __future__ import annotations

from pathlib import Path

from goft_cli.sweeps.leaderboard import COLUMNS, Result, finished_runs, markdown, rows, told_apart


def result(
    value: float, *, seed: int = 1, up: bool = True, task: str = "t", **settings: object
) -> Result:
    return Result(task, "m", "goft", seed, "score", value, up, 1998, 12.0, "run", settings)


def scores(results: list[Result]) -> list[str]:
    return [cells[COLUMNS.index("score")] for cells in rows(told_apart(results))]


def test_the_best_comes_first_whichever_way_is_better() -> None:
    assert scores([result(0.1, r=1), result(0.3, r=2)]) == ["score 0.300", "score 0.100"]
    falling = [result(0.3, up=False, r=1), result(0.1, up=False, r=2)]
    assert scores(falling) == ["score 0.100", "score 0.300"]


def test_seeds_make_one_row_with_its_deviation() -> None:
    (cells,) = rows(told_apart([result(0.2, seed=1), result(0.4, seed=2)]))
    assert dict(zip(COLUMNS, cells, strict=True)) == {
        "task": "t",
        "model": "m",
        "adapter": "goft",
        "changed": "",
        "runs": "2",
        "score": "score 0.300 ± 0.141",  # (0.4 - 0.2) / sqrt(2)
        "best": "0.400",
        "parameters": "1,998",
        "seconds": "12",
    }


def test_what_differs_is_named_and_nothing_else() -> None:
    runs = told_apart([result(0.1, rate=0.00123456, r=4), result(0.2, rate=1e-2, r=4)])
    assert [run.changed for run in runs] == ["rate=0.001235", "rate=0.01"]


def test_tasks_are_not_compared() -> None:
    runs = [result(0.9, task="b"), result(0.1, task="a")]
    assert [cells[0] for cells in rows(runs)] == ["a", "b"]
    assert markdown(runs).splitlines()[2].startswith("| a | m | goft |")


def test_only_finished_runs_are_found(tmp_path: Path) -> None:
    for name in ("done", "begun"):
        (tmp_path / name).mkdir()
    (tmp_path / "done" / "metrics.json").touch()
    assert [run.path.name for run in finished_runs(tmp_path)] == ["done"]
