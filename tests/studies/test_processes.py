"""Test a sweep whose jobs are processes: one of them fails, is corrected and is run again."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from goft_cli.run.configuration import read_config
from goft_cli.studies.jobs import LEADERBOARD
from goft_cli.system.errors import FAILED_JOBS
from goft_cli.system.files import read_json
from tests.conftest import Goft
from tests.support import small_runs

RUNS = Path("outputs/glue/cola/minilm-l6/linear")
AGAIN = "--- again ---"
# Both commands run in one process, so its fork server imports the heavy packages only once.
TWICE = f"""
import sys
from pathlib import Path
from goft_cli import cli
words = sys.argv[1:]
print("returned", cli.main(words), flush=True)
Path("{RUNS}/run1").unlink()
print("{AGAIN}", flush=True)
sys.exit(cli.main(words))
"""


@pytest.mark.slow
def test_a_sweep_goes_on_where_a_job_failed(goft_process: Goft, tmp_path: Path) -> None:
    model, data = (
        small_runs.write_model(tmp_path / "model"),
        small_runs.write_data(tmp_path / "data", rows=8),
    )
    (tmp_path / RUNS).mkdir(parents=True)
    (tmp_path / RUNS / "run1").write_text("in the way of the first job")
    words = [word for word in small_runs.overrides(model, data, RUNS) if "output_dir" not in word]
    own = ["seed=1,2", "run_name=run${seed}", "adapter=linear", "trainer.max_steps=1"]
    answer = goft_process("train", "-m", *words, *own, "hydra.sweep.dir=sweep", code=TWICE)
    assert answer.code == 0, answer.err
    first, again = answer.out.split(AGAIN)

    failed = f"job 0 (seed=1) failed: output_dir={RUNS}/run1: {RUNS}/run1 is a file"
    assert first.index(failed) < first.index("job 1 (seed=2) started")
    assert f"job 1 (seed=2) finished, {RUNS}/run2" in first
    assert f"2 jobs: 1 finished, 1 failed; exit code {FAILED_JOBS}" in first
    assert first.endswith(f"returned {FAILED_JOBS}\n")

    assert f"job 0 (seed=1) finished, {RUNS}/run1" in again
    assert f"job 1 (seed=2) finished earlier, kept: {RUNS}/run2" in again
    assert "2 jobs: 1 finished, 1 kept\n" in again
    board = (tmp_path / "sweep" / LEADERBOARD).read_text(encoding="utf-8")
    rows = list(csv.DictReader(board.splitlines()))
    assert [row["run"] for row in rows] == [f"{RUNS}/run1", f"{RUNS}/run2"]
    for row in rows:
        run = tmp_path / row["run"]
        assert read_config(run / "config.yaml").seed == int(row["seed"])
        assert float(row["value"]) == read_json(run / "metrics.json")["headline"]["value"]
