"""`goft compare` shows the scores on a benchmark that each run was scored on."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from tests.conftest import Goft
from tests.support.comparisons import Trainings
from tests.verbs.test_compare import WORDS, table


@pytest.mark.slow
def test_scores_on_a_benchmark_have_their_column(
    goft: Goft, trainings: Trainings, undrawn: None, tmp_path: Path
) -> None:
    words = [
        *WORDS,
        "task=demo/instructions",
        "model=tiny-llama",
        "benchmark=demo-choices",
        "seeds=2",
    ]
    answer = goft(*words)
    assert answer.code == 0
    assert "0.262 ± 0.006" in answer.out  # half of (33 / 64, 34 / 64)
    name = "demo/choices.average_2_shot"
    rows = table(tmp_path / "told")
    assert float(rows["goft"][name]) == pytest.approx((33 + 34) / 256)
    assert float(rows["lora"][f"{name}_deviation"]) == pytest.approx(2**-0.5 / 128)
    runs_of = csv.DictReader((tmp_path / "told" / "runs.csv").read_text().splitlines())
    assert [float(run[name]) for run in runs_of] == [33 / 128, 34 / 128, 17 / 128, 18 / 128]
    written = (tmp_path / "told" / "comparison.md").read_text(encoding="utf-8")
    assert "| demo/choices average 2 shot |" in written
    again = json.loads((tmp_path / "told" / "comparison.json").read_text())
    assert again["adapters"][0]["benchmarks"] == {name: [33 / 128, 34 / 128]}


@pytest.mark.slow
@pytest.mark.parametrize("without", ["goft", "lora"])
def test_a_run_that_lacks_a_score_on_the_benchmark_leaves_its_cells_empty(
    without: str, goft: Goft, trainings: Trainings, undrawn: None, tmp_path: Path
) -> None:
    words = [*WORDS, "task=demo/instructions", "model=tiny-llama", "benchmark=demo-choices"]
    assert goft(*words, "seeds=1").code == 0
    (file,) = tmp_path.glob(f"outputs/**/{without}/*/metrics.json")
    file.write_text(json.dumps(json.loads(file.read_text()) | {"metrics": {}}), encoding="utf-8")
    answer = goft(*words, "seeds=1")
    assert (answer.code, answer.err) == (0, "")
    name = "demo/choices.average_2_shot"
    for written in ("comparison.csv", "runs.csv"):
        found = csv.DictReader((tmp_path / "told" / written).read_text().splitlines())
        scored = {row["adapter"]: row[name] != "" for row in found}
        assert scored == {adapter: adapter != without for adapter in ("goft", "lora")}
    lines = (tmp_path / "told" / "comparison.md").read_text(encoding="utf-8").splitlines()
    assert len({line.count("|") for line in lines if line.startswith("|")}) == 1
