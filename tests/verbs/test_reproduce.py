"""`goft reproduce` runs from its command line, and writes tables, JSON, Markdown and plots."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from goft_cli.studies.recipes import recipe_names
from goft_cli.verbs.reproduce.comparison import (
    RULE,
    Comparison,
    as_markdown,
    as_plain,
    footnotes,
    plot,
    result_tables,
)
from goft_cli.verbs.reproduce.rehearsal import write_stand_in
from tests.conftest import Goft
from tests.support.recipe_cells import cell

MANY = [
    Comparison("table1/cola/goft", "matthews_correlation", 2, {1: 71.0, 2: 72.0}, 71.64, None),
    Comparison("table1/cola/oft", "matthews_correlation", 2, {1: 71.0, 2: 72.0}, 70.82, "a guess"),
    Comparison("table1/rte/goft", "accuracy", 2, {1: 70.0, 2: 70.1}, 86.28, None),
    Comparison("figure4a/rte/goft-scaled", "accuracy", 2, {1: 70.0}, None, "not printed"),
]


def test_every_recipe_is_listed(goft: Goft) -> None:
    answer = goft("reproduce", "list")
    assert (answer.code, answer.err) == (0, "")
    assert all(name in answer.out for name in recipe_names())


@pytest.mark.slow
def test_a_rehearsal_goes_through_the_whole_chain(goft: Goft) -> None:
    answer = goft("reproduce", "figure4a/rte/qgoft", "--rehearse")
    assert answer.code == 0
    assert "not comparable (1)" in answer.out
    assert "(1) a rehearsal" in answer.out
    folder = Path("outputs/rehearsal/figure4a/rte/qgoft")
    (result,) = json.loads((folder / "result.json").read_text())["results"]
    assert result["verdict"] == "not comparable"
    assert set(result["ours"]) == {"1", "2"}
    assert (folder / "seed1" / "metrics.json").is_file()
    assert (folder / "result.md").is_file()
    with Image.open(folder / "result.png") as image:
        assert image.width > image.height


@pytest.mark.slow
def test_runs_that_are_there_are_reused(goft: Goft, tmp_path: Path) -> None:
    write_stand_in(cell("glue/rte", "qgoft").task, tmp_path / "RTE")
    words = ["model.path=asset:tiny-deberta-v3", f"task.data_dir={tmp_path / 'RTE'}"]
    words += ["trainer.use_cpu=true", "trainer.max_steps=1", "seed=1"]
    assert goft("reproduce", "table1/rte/qgoft", *words).code == 0
    (run,) = Path("outputs/glue/rte/deberta-v3-base/qgoft").iterdir()
    before = (run / "metrics.json").stat().st_mtime_ns
    answer = goft("reproduce", "figure4a/rte/qgoft", *words)  # a cell with the same runs
    assert answer.code == 0
    assert "the command line changed the run: trainer.max_steps=1" in " ".join(answer.out.split())
    assert (run / "metrics.json").stat().st_mtime_ns == before
    assert Path("outputs/reproduce/figure4a/rte/qgoft/result.json").is_file()


def test_tables_are_one_per_measure() -> None:
    titles = [table.title for table in result_tables(MANY[:3])]
    assert titles == ["table1: matthews correlation", "table1: accuracy"]
    across = result_tables(MANY)
    assert [table.title for table in across] == ["matthews correlation", "accuracy"]
    assert [sum(map(bool, table.rows)) for table in across] == [2, 2]


def test_each_reason_is_said_once_and_the_rule_where_it_was_used() -> None:
    notes = footnotes(MANY)
    assert notes[:2] == ["(1) a guess", "(2) not printed"]
    assert notes[-1] == RULE
    assert RULE not in footnotes(MANY[1:2])
    assert any("single seeds" in note for note in notes)


def test_a_given_model_is_named_where_there_is_a_verdict() -> None:
    compared, other = (replace(one, model_path="./copy") for one in MANY[:2])
    (note,) = [line for line in footnotes([compared, other]) if "./copy" in line]
    assert note.endswith("deberta-v3-base")
    assert not any("./copy" in line for line in footnotes([other]))


def test_markdown_has_a_line_for_each_number() -> None:
    text = as_markdown("table1", MANY)
    assert "| table1/cola/goft | matthews correlation | 71.50 ± 0.71 | 2 | 71.64 | -0.14 |" in text
    assert "| 70.00 | 1 |  |  | not comparable (2) |" in text
    assert text.count("\n| ") == len(MANY) + 2


def test_json_keeps_every_seed() -> None:
    plain = json.loads(json.dumps(as_plain("table1", MANY)))
    assert plain["results"][0]["ours"] == {"1": 71.0, "2": 72.0}
    assert [row["verdict"] for row in plain["results"][:3]] == [
        "inside",
        "not comparable",
        "outside",
    ]


def test_a_plot_has_a_panel_for_each_recipe(tmp_path: Path) -> None:
    plot(MANY[:1], tmp_path / "one.png")
    plot(MANY, tmp_path / "many.png")
    with Image.open(tmp_path / "one.png") as one, Image.open(tmp_path / "many.png") as many:
        assert many.width > one.width
