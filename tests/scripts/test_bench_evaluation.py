"""The benchmark of evaluation fills both of its tables."""

from __future__ import annotations

import pytest

from scripts import bench_evaluation


@pytest.mark.slow
def test_both_tables_are_filled(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def here(command: list[str]) -> int:
        return bench_evaluation.peak(bench_evaluation.parse(command[1:]))

    monkeypatch.setattr(bench_evaluation, "peak_in_child", here)
    monkeypatch.setattr(bench_evaluation, "TIMED_ROWS", 40)
    bench_evaluation.main(["--rounds", "1", "--rows", "5", "9"])
    shown = capsys.readouterr().out
    assert "plain loop" in shown
    assert "9 rows" in shown
    for verb in bench_evaluation.VERBS:
        assert shown.count(verb) >= len(bench_evaluation.TASKS)
