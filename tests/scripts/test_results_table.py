"""Test the results kept in the repository: the files copied from a comparison, and the tables."""

from __future__ import annotations

import re
from dataclasses import asdict
from pathlib import Path

import pytest

from goft_cli.run.folder import RunFolder
from goft_cli.run.retained import MEASURED, Retained
from goft_cli.studies.recipes import recipe_names
from goft_cli.system.errors import GoftError
from goft_cli.system.files import read_json, write_json, write_text
from goft_cli.verbs.compare import comparison, runs
from goft_cli.verbs.compare.runs import PlannedRun
from scripts import results_table
from tests.conftest import ROOT, Goft
from tests.support.comparisons import Trainings

KEPT = sorted(file.parent for file in results_table.RESULTS.glob("*/comparison.json"))
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
MEASURE = Retained("cka", 1.0, "validation/cka", "1 - CKA", 0.125, {}, {"validation/cka": 0.875})
SCORES = {"goft": (0.5, 0.52), "lora-r8": (0.6, 0.63), "linear": (0.1, 0.6)}
LINE = [[0.0, 0.0], [0.05, 0.25], [0.06, 0.375], [0.1, 0.4375], [0.125, 0.51]]


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Write the results of a comparison with two seeds, whose scores are losses."""
    run = RunFolder(ROOT / "tests" / "fixtures" / "runs" / "lora")
    metrics, config = read_json(run.metrics), run.config.read_text("utf-8")
    metrics |= {"train_seconds": 1800.0, "seconds_per_update": 1800 / 804}
    for name, scores in SCORES.items():
        for seed, score in enumerate(scores, start=1):
            folder = tmp_path / "results" / name / f"seed{seed}"
            metrics["headline"]["value"] = score
            write_json(folder / "metrics.json", metrics)
            write_json(folder / "manifest.json", {"environment": {}})
            write_text(folder / "config.yaml", config.replace("seed: 42", f"seed: {seed}"))
            write_json(folder / "retained.json", {MEASURED: [asdict(MEASURE)]})
    caption = {"task": "a task", "model": "a model", "headline": "loss", "reference": "goft"}
    lines = {name: LINE if name == "goft" else [] for name in SCORES}
    told = {**caption, "budget": "", "adapters": lines, "notes": ["A note."]}
    write_json(tmp_path / "results" / "comparison.json", told)
    return tmp_path / "results"


def test_a_document_says_what_the_results_do(results: Path, tmp_path: Path) -> None:
    found = results_table.read(results)
    text = results_table.render(found, short=False)
    first, _, *rows = (line for line in text.splitlines() if line.startswith("| "))
    assert [row.split(" | ")[0] for row in rows[:3]] == ["| linear", "| goft", "| lora-r8"]
    assert "| time |" not in first
    assert "| memory | forgotten |" in first
    assert "- A note." in text
    assert "Worse than goft by the interval: lora-r8. Not told apart from goft by" in text
    assert "6 runs of 804 updates; their trainings took 3.0 hours in all." in text
    assert "| goft | loss | 0.000 | 0.250 | 0.375 | 0.438 | 0.510 |" in text
    assert "|  | forgotten | 0.000 | 0.050 | 0.060 | 0.100 | 0.125 |" in text
    short = results_table.render(found, short=True).splitlines()
    assert len(short) == 2 + len(SCORES)
    assert short[0].startswith("| adapter | size | parameters | loss | difference to goft")
    assert short[0].endswith("interval | forgotten |")
    assert len({line.count("|") for line in short}) == 1
    results_table.draw(found, tmp_path / "drawn.png")
    assert (tmp_path / "drawn.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.skipif(not KEPT, reason="no results of a comparison are kept")
def test_the_tables_of_the_documents_are_those_of_the_results() -> None:
    texts = [document.read_text("utf-8") for document in DOCUMENTS]
    assert [results_table.fill(text) for text in texts] == texts
    shown = {name for text in texts for _, name, *_ in results_table.PLACE.findall(text)}
    assert shown == {folder.name for folder in KEPT}
    for folder in KEPT:
        files = [file for file in folder.rglob("*") if file.is_file()]
        assert {file.suffix for file in files} == {".json", ".yaml"}, "no weights"
        assert sum(file.stat().st_size for file in files) < 2**20
        place = re.compile(r"(^|[\"' ])[/~]\w")  # a path of some machine
        assert not [file for file in files if place.search(file.read_text("utf-8"))]


def test_results_and_adapters_beside_the_recipes_are_no_recipes() -> None:
    assert not [name for name in recipe_names() if name.startswith(("results/", "cola/"))]


@pytest.mark.slow
def test_what_is_copied_gives_the_comparison_again(
    goft: Goft, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Trainings(lambda cfg: cfg.seed / 64)

    def finish(run: PlannedRun, *, trial: bool) -> None:
        made.finish(run, trial=trial)
        if run.cfg.trainer.learning_rate > 0.02:
            run.record.folder.metrics.unlink()  # as if the trial failed

    monkeypatch.setattr(runs, "finish", finish)
    monkeypatch.setattr(comparison, "draw", lambda *_: [])
    monkeypatch.setattr(comparison, "draw_tuning", lambda *_: [])
    words = ["adapters=[goft,lora]", "tune=3", "seeds=2", f"tracker.project={tmp_path}/mine"]
    assert goft("compare", *words, "output_dir=told").code == 0
    results, told = tmp_path / "results", tmp_path / "told"
    results_table.collect(told, results)
    texts = [file.read_text("utf-8") for file in results.rglob("*") if file.is_file()]
    assert not [text for text in texts if str(tmp_path) in text]
    assert "project: mine" in (results / "lora" / "seed2" / "config.yaml").read_text("utf-8")
    found = results_table.read(results)
    assert len(found.runs) == len(list(results.glob("*/seed*/metrics.json"))) == 2 * 2
    assert len(found.trials) == len(list(results.glob("*/trial*/metrics.json"))) == 2 * 3 - 1
    shown = (told / "comparison.md").read_text("utf-8")
    for line in results_table.render(found, short=True).splitlines()[2:]:
        name, *cells = line.strip("| ").split(" | ")
        row = next(row for row in shown.splitlines() if row.startswith(f"| {name} |"))
        assert all(f"| {cell} " in row for cell in cells)
    content = read_json(told / "comparison.json")
    content["adapters"][0]["mean"] += 1
    before = {file: file.read_bytes() for file in results.rglob("*") if file.is_file()}
    write_json(told / "comparison.json", content)
    with pytest.raises(GoftError, match="other numbers"):
        results_table.collect(told, results)
    left = [file for file in tmp_path.glob("results*/**/*") if file.is_file()]
    assert {file: file.read_bytes() for file in left} == before, "the earlier results stay"
