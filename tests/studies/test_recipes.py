"""Test every file under recipes/: its config, that no result is missing, no number mistyped."""

from __future__ import annotations

import re
import shlex
import statistics
from pathlib import Path

import pytest
import yaml

from goft_cli.compose.recomposition import compose_train
from goft_cli.config import EVERY
from goft_cli.studies.recipes import Cell, cells, folder_of, read_recipe, recipe_names, select
from goft_cli.system.errors import GoftError
from scripts.vtab.average import average
from tests.conftest import Goft
from tests.support.recipe_cells import CHOICES, CONFIGS
from tests.support.rotated import ROTATED

NAMES = recipe_names()
# The last columns of Tables 1 and 3: checksums of the numbers in their rows.
GLUE_AVERAGE = {
    "full": 88.27,
    "bitfit": 86.27,
    "lora": 88.33,
    "adalora": 89.03,
    "oft": 87.80,
    "oft-b8": 88.78,
    "goft": 88.78,
    "qgoft": 89.35,
}
VTAB_AVERAGE = {
    "full": 68.9,
    "linear": 57.6,
    "bitfit": 65.2,
    "lora": 74.5,
    "oft": 78.0,
    "goft": 78.6,
    "qgoft": 79.4,
}
# Number of MMLU questions that the legacy loader keeps of each category.
QUESTIONS = {"stem": 3000, "social_sciences": 3065, "humanities": 4692, "other": 3228}


def published(folder: str, method: str) -> dict[str, float]:
    """Return a method's published scores by task."""
    recipes = [read_recipe(name) for name in NAMES if name.startswith(f"{folder}/")]
    found = {recipe.task: recipe.measures["score"].paper[method] for recipe in recipes}
    return {task: value for task, value in found.items() if value is not None}


@pytest.mark.parametrize(("folder", "group"), [("table1", "glue"), ("table3", "vtab")])
def test_each_task_of_a_benchmark_has_its_recipe(folder: str, group: str) -> None:
    recipes = {name: read_recipe(name).task for name in NAMES if name.startswith(f"{folder}/")}
    assert recipes == {
        f"{folder}/{task.partition('/')[2]}": task
        for task in CHOICES["task"]
        if task.startswith(f"{group}/")
    }


def test_the_results_beside_the_benchmarks_have_their_recipes() -> None:
    others = {name for name in NAMES if not name.startswith(("table1/", "table3/"))}
    tuned = {f"table2/{name}" for name in ("mmlu-0-shot", "mmlu-5-shot", "vicuna")}
    swept = {f"figure4{part}/{task}" for part in "ab" for task in ("qnli", "rte")}
    assert others == {*tuned, *swept, "table4/squad", "table10/qnli"}


def test_a_recipe_says_all_it_must() -> None:
    for name in NAMES:
        recipe = read_recipe(name)
        assert recipe.task in CHOICES["task"], name
        assert {recipe.model, recipe.stand_in} <= set(CHOICES["model"]), name
        assert recipe.source.replace(" ", "").lower() == name.partition("/")[0]
        assert recipe.hardware, name
        assert len(recipe.seeds) >= 3, name  # fewer say little about the noise
        assert {"goft", "qgoft"} <= set(recipe.published) or name.startswith("figure4b/")


def test_numbers_are_such_as_their_metric_has() -> None:
    for name in NAMES:
        for label, measure in read_recipe(name).measures.items():
            top = 10 if label in {"rating", "seconds per update"} else 100
            values = [value for value in measure.paper.values() if value is not None]
            assert values, name
            assert all(0 < value <= top for value in values), name
            assert all(round(value, measure.digits) == value for value in values), name


def test_table_1_adds_up() -> None:
    for method, mean in GLUE_AVERAGE.items():
        values = published("table1", method).values()
        assert len(values) == 8
        assert statistics.mean(values) == pytest.approx(mean, abs=0.0051), method


def test_table_3_adds_up() -> None:
    for method, mean in VTAB_AVERAGE.items():
        # the average is rounded, and so are its cells, some of which were truncated instead
        assert average(published("table3", method)) == pytest.approx(mean, abs=0.11), method


@pytest.mark.parametrize("shots", [0, 5])
def test_table_2_adds_up(shots: int) -> None:
    measures = read_recipe(f"table2/mmlu-{shots}-shot").measures
    for method in ("lora", "adalora", "oft", "goft", "qgoft"):
        values = {name: measures[name].paper[method] or 0.0 for name in measures}
        if (method, shots) == ("lora", 5):
            values["other"] += 1  # an error in the paper, which the recipe notes
        total = sum(values[name] * count for name, count in QUESTIONS.items())
        mean = total / sum(QUESTIONS.values())
        assert mean == pytest.approx(values["average"], abs=0.01), method


@pytest.mark.parametrize("task", ["qnli", "rte"])
def test_figure_4_repeats_cells_of_table_1(task: str) -> None:
    cells_of = read_recipe(f"table1/{task}").measures["score"].paper
    ablation = read_recipe(f"figure4a/{task}").measures["score"].paper
    assert [ablation["goft"], ablation["qgoft"]] == [cells_of["goft"], cells_of["qgoft"]]
    sweep = read_recipe(f"figure4b/{task}")
    (own,) = [name for name, words in sweep.methods.items() if words == ["adapter=qgoft"]]
    assert sweep.measures["score"].paper[own] == cells_of["qgoft"]
    rows = yaml.safe_load((CONFIGS / f"task/glue/{task}.yaml").read_text())["recipe"]["by_adapter"]
    assert own == f"penalty-{rows['qgoft']['penalty_weight']}"


# The last one of each folder: the tests of the rehearsal compose all of them.
@pytest.mark.parametrize("one", {folder_of(one.name): one for one in ROTATED}.values(), ids=str)
def test_the_command_is_what_the_recipe_says(one: Cell) -> None:
    recipe, cfg = one.recipe, compose_train(one.words(7))
    assert (cfg.task.name, cfg.model.name, cfg.seed) == (recipe.task, recipe.model, 7)
    folder = f"outputs/{recipe.task}/{recipe.model}/{cfg.adapter.name}/seed7"
    assert cfg.output_dir.startswith(folder)


def test_the_run_folder_is_that_of_the_same_words(goft: Goft) -> None:
    (one,) = select("table3/cifar/qgoft")
    printed = goft("train", *one.words(7), "--cfg", "job", "--resolve", "-p", "output_dir")
    assert printed.out.strip().endswith(compose_train(one.words(7)).output_dir)


def test_a_sweep_sets_the_penalty_that_it_names() -> None:
    for name in ("figure4b/qnli", "figure4b/rte"):
        for method, words in read_recipe(name).methods.items():
            said = method.replace("penalty-", "adapter.penalty_weight=")
            assert words in (["adapter=qgoft", said], ["adapter=qgoft"])


def test_both_shots_of_mmlu_are_scored_in_the_same_runs() -> None:
    for one in select("table2/mmlu-0-shot"):
        assert one.words(1) == select(f"table2/mmlu-5-shot/{one.method}")[0].words(1)


@pytest.mark.parametrize(
    ("target", "count"),
    [("table1/cola/qgoft", 1), ("table1/cola", 8), ("table1", 64), ("table3/*/goft", 19)],
)
def test_a_target_is_a_cell_a_recipe_a_folder_or_a_pattern(target: str, count: int) -> None:
    assert len(select(target)) == count


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("tabel1", "table1"),
        ("cola", "table1/cola"),
        ("table1/colla", "table1/cola"),
        ("table1/cola/qgof", "table1/cola/qgoft"),
    ],
)
def test_a_mistyped_target_is_answered_by_the_nearest(typed: str, meant: str) -> None:
    with pytest.raises(GoftError, match=rf"^{typed}: .* did you mean {meant}\? "):
        select(typed)


GOOD = {
    "source": "Table 1",
    "task": "glue/cola",
    "model": "deberta-v3-base",
    "hardware": "a GPU",
    "stand_in": "tiny-deberta-v3",
    "measures": {"score": {"key": "headline.value", "paper": {"goft": 1.0}}},
}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sauce": "Table 1"}, r"sauce"),
        ({"task": "???"}, r"task has no value"),
        ({"measures": {}}, r"measures: each needs the paper's value"),
        ({"measures": {"score": {"key": "k", "paper": {}}}}, r"measures: each needs"),
        ({"measures": {"score": {"key": "k", "paper": {"goft": "high"}}}}, r"goft.*high"),
        ({"seeds": [1, 1]}, r"seeds=\[1, 1\]: expected numbers, each once"),
        ({"methods": {"gofd": ["adapter=goft"]}}, r"methods: no measure has a value for gofd"),
        ({"not_comparable": {"lora": "so"}}, r"not_comparable: .* for lora; found goft"),
    ],
)
def test_a_bad_recipe_gets_its_sentence(
    change: dict[str, object], message: str, tmp_path: Path
) -> None:
    (tmp_path / "bad.yaml").write_text(yaml.safe_dump(GOOD | change), encoding="utf-8")
    with pytest.raises(GoftError, match=rf"{re.escape(str(tmp_path))}/bad\.yaml: .*{message}"):
        read_recipe("bad", tmp_path)


def test_a_folder_shares_its_base(tmp_path: Path) -> None:
    (tmp_path / "_base.yaml").write_text(yaml.safe_dump(GOOD), encoding="utf-8")
    own = {"measures": {"score": {"paper": {"goft": 2.0}}}, "not_comparable": {EVERY: "so"}}
    (tmp_path / "good.yaml").write_text(yaml.safe_dump(own), encoding="utf-8")
    recipe = read_recipe("good", tmp_path)
    assert recipe.measures["score"].paper == {"goft": 2.0}
    assert recipe.measures["score"].key == "headline.value"
    assert recipe_names(tmp_path) == ["good"]


def test_names_of_cells_are_distinct() -> None:
    names = [one.name for one in cells()]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("task", ["glue/cola", "vtab/cifar", "demo/qa"])
def test_cells_of_a_task_are_those_of_all_that_have_it(task: str) -> None:
    assert cells(task) == [one for one in cells() if one.recipe.task == task]


def test_a_command_can_be_pasted_into_a_shell() -> None:
    (one,) = select("table10/qnli/goft")
    command = shlex.split(one.command([1, 2]))
    assert command[:3] == ["goft", "train", "-m"]
    assert [*command[3:-1], "seed=2"] == one.words(2)
    assert command[-1] == "seed=1,2"
