"""`goft compare` makes or reuses the right runs, and prints and writes their statistics."""

from __future__ import annotations

import csv
import json
import math
import re
import shlex
from pathlib import Path

import pytest
from hydra.core.global_hydra import GlobalHydra

from goft_cli.compose.composition import register
from goft_cli.compose.recomposition import compose_here, compose_seeds
from goft_cli.compose.store import config_source
from goft_cli.compose.suggest import open_configs
from goft_cli.studies import runner
from goft_cli.studies.runner import Outcome, Surroundings
from goft_cli.system.errors import CRASH, USAGE_ERROR, GoftError
from goft_cli.verbs import train
from goft_cli.verbs.compare import dry_run, runs
from goft_cli.verbs.compare.runs import PlannedRun
from tests.conftest import Goft
from tests.run.test_starting_again import ANSWER as WITHOUT_LIBRARIES
from tests.support.comparisons import Trainings
from tests.support.small_runs import composed

WORDS = ["compare", "adapters=[goft,lora]", "trainer.max_steps=7", "output_dir=told"]


def table(folder: Path) -> dict[str, dict[str, str]]:
    """Return the rows of `comparison.csv`, by adapter."""
    text = (folder / "comparison.csv").read_text(encoding="utf-8")
    return {row["adapter"]: row for row in csv.DictReader(text.splitlines())}


@pytest.mark.slow
def test_the_numbers_are_those_of_the_runs(
    goft: Goft, trainings: Trainings, tmp_path: Path
) -> None:
    answer = goft(*WORDS, "seeds=2", "reference=lora")
    assert trainings.commands == [
        f"goft train adapter={name} seed={seed} trainer.max_steps=7"
        for seed in (1, 2)
        for name in ("goft", "lora")
    ]
    rows = table(tmp_path / "told")
    assert list(rows) == ["goft", "lora"]
    numbers = {key: float(value) for key, value in rows["goft"].items() if key in NUMBERS}
    assert numbers == pytest.approx(NUMBERS)
    assert rows["lora"]["difference"] == ""
    assert "0.523 ± 0.011" in answer.out
    assert "[+0.250, +0.250]" in answer.out
    written = (tmp_path / "told" / "comparison.md").read_text(encoding="utf-8")
    assert "| lora | r=2 | 400 | 0.273 ± 0.011 | 0.281 | reference | 4.0 s | 256 MB |" in written
    assert "over 2 seeds (1, 2)" in written
    assert "different machines" not in written
    for suffix, start in {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}.items():
        assert (tmp_path / "told" / f"comparison.{suffix}").read_bytes().startswith(start)
    assert len((tmp_path / "told" / "runs.csv").read_text(encoding="utf-8").splitlines()) == 1 + 4


@pytest.mark.slow
@pytest.mark.parametrize("lost", [math.inf, math.nan])
def test_a_score_that_is_not_finite_is_shown(
    lost: float, goft: Goft, trainings: Trainings, tmp_path: Path
) -> None:
    trainings.score = lambda cfg: lost if cfg.adapter.name == "lora" and cfg.seed == 1 else 0.5
    answer = goft(*WORDS, "seeds=2")
    assert (answer.code, answer.err) == (0, "")
    rows = table(tmp_path / "told")
    assert float(rows["goft"]["standard_deviation"]) == 0
    for column in ("mean", "standard_deviation", "difference", "interval_low", "interval_high"):
        assert not math.isfinite(float(rows["lora"][column]))
    assert f"{lost} ± nan" in answer.out


@pytest.mark.slow
def test_a_finished_run_is_reused_and_one_made_elsewhere_is_not_raced(
    goft: Goft, trainings: Trainings, undrawn: None, tmp_path: Path
) -> None:
    assert "these differences may be noise" in goft(*WORDS, "seeds=[5]").out
    manifest = next(tmp_path.rglob("goft/*/manifest.json"))
    manifest.write_text(json.dumps({"environment": {"cpu_threads": 8}}), encoding="utf-8")
    trainings.planned.clear()
    assert goft(*WORDS, "seeds=[5]").code == 0
    assert trainings.commands == []
    written = (tmp_path / "told" / "comparison.md").read_text(encoding="utf-8")
    assert "different machines or versions: do not compare their times" in written


@pytest.mark.slow
def test_a_figure_of_the_same_numbers_is_not_drawn_again_nor_are_libraries_imported(
    goft: Goft, goft_process: Goft, trainings: Trainings, tmp_path: Path
) -> None:
    first = goft(*WORDS, "seeds=2")
    figure = tmp_path / "told" / "comparison.png"
    drawn = figure.stat().st_mtime_ns
    again = goft_process(*WORDS, "seeds=2", code=WITHOUT_LIBRARIES)
    assert (again.code, again.err) == (0, "")
    told = [answer.out.partition("Mean")[2].split() for answer in (first, again)]
    assert told[0] == told[1] != []
    assert figure.stat().st_mtime_ns == drawn
    metrics = next(tmp_path.rglob("goft/seed1*/metrics.json"))
    metrics.write_text(metrics.read_text().replace("0.515625", "0.75"))
    assert goft(*WORDS, "seeds=2").code == 0
    assert figure.stat().st_mtime_ns > drawn


NUMBERS = {
    "parameters": 400,
    "head_parameters": 10,
    "seeds": 2,
    "mean": 0.5 + 1.5 / 64,
    "standard_deviation": 0.5**0.5 / 64,
    "best": 0.5 + 2 / 64,
    "difference": 0.25,
    "interval_low": 0.25,
    "interval_high": 0.25,
    "train_seconds": 4,
    "peak_memory_bytes": 2**28,
}


@pytest.mark.slow
def test_a_matched_budget_is_part_of_the_runs_and_is_said(
    goft: Goft, trainings: Trainings, undrawn: None, tmp_path: Path
) -> None:
    words = ["adapters=[qgoft,lora,oft]", "seeds=1", "budget=matched", "output_dir=told"]
    assert goft("compare", *words).code == 0
    assert trainings.commands == [
        "goft train adapter=qgoft seed=1",
        "goft train adapter=lora seed=1",  # its default is the nearest already
        "goft train adapter=oft seed=1 adapter.oft_block_size=8",
    ]
    written = (tmp_path / "told" / "comparison.md").read_text(encoding="utf-8")
    assert "qgoft's 7,992 parameters; the others' shares of it: lora 1.01, oft 0.88." in written


def test_the_time_is_that_of_adapters_by_the_names_that_were_compared(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cfg = composed(["adapter=lora", "seed=1"])
    planned = [PlannedRun((f"adapter={name}", "seed=1"), cfg) for name in ("lora", "bigger")]
    monkeypatch.setattr(dry_run, "median_train_seconds", lambda _: 600.0)
    dry_run.show_time([], planned, 0, {"lora": cfg, "bigger": cfg})
    assert "about 20 minutes" in capsys.readouterr().out


GROUP_OF_THE_USER = {
    "told": "output_dir: told/${hydra:overrides.task.0}",
    "named": "hydra: {job: {config: {override_dirname: {exclude_keys: []}}}}",
}


@pytest.mark.parametrize(
    "words",
    [
        ["trainer.max_steps=7", "trainer.warmup_steps=${seed}"],
        ["task=glue/cola", "model=minilm-l6", "model.path=a/b", "trainer.learning_rate=0.5"],
        ["+mine=told", "verify=headline"],
        ["+mine=named", "model=minilm-l6"],
    ],
    ids=" ".join,
)
def test_seeds_are_composed_as_each_alone(words: list[str], tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    for name, content in GROUP_OF_THE_USER.items():
        text = f"# @package _global_\n{content}\n"
        (tmp_path / "mine" / f"{name}.yaml").write_text(text, encoding="utf-8")
    register()
    GlobalHydra.instance().clear()
    words = [*words, f"hydra.searchpath=[{tmp_path}]"]
    with open_configs(config_source("train")[0]):
        found = compose_seeds(words, [3, 1, 22])
        assert found == [compose_here([f"seed={n}", *words]) for n in (3, 1, 22)]
    assert [cfg.seed for cfg in found] == [3, 1, 22]
    assert len({cfg.output_dir for cfg in found}) == 3


@pytest.mark.parametrize(
    "outcome", [Outcome(CRASH, "unexpected error"), Outcome(USAGE_ERROR, "no such data")]
)
def test_a_run_that_fails_says_why_and_is_named(
    outcome: Outcome, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cfg = composed(["adapter=lora", "seed=2"])

    def ended(job: object, given: object, _: Surroundings, *, several: bool) -> Outcome:
        assert (job, given, several) == (train.train_quietly, cfg, False)
        return outcome

    monkeypatch.setattr(runner, "isolated", ended)
    with pytest.raises(
        GoftError, match=r"goft train adapter=lora seed=2 failed, see its error above"
    ):
        runs.finish(PlannedRun(("adapter=lora", "seed=2"), cfg))
    assert capsys.readouterr().err == f"goft: {outcome.sentence}\n"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("adapter=lora", ["adapter=lora", "adapters=[...]"]),
        ("adapters=[goft,goft]", ["adapters=[goft,goft]", "each once"]),
        ("adapters=[goft,lroa]", ["there is no adapter lroa", "did you mean lora?"]),
        ("reference=oft", ["reference=oft", "one of adapters=[goft,qgoft,lora,linear]"]),
        ("seeds=0", ["seeds=0", "seeds=[1,2,3]"]),
        ("seeds=[1,1]", ["seeds=[1,1]", "different"]),
        ("task=mmlu/full", ["nothing to train on"]),
        ("tune=1", ["tune=1", "at least 2 learning rates", "tune=3"]),
        ("retain=tekst", ["retain=tekst", "did you mean text?"]),
        ("retain={probe: demo/topcis}", ["no demo/topcis", "did you mean demo/topics?"]),
    ],
)
def test_a_mistake_is_answered_before_anything_trains(
    words: str, expected: list[str], goft: Goft, trainings: Trainings
) -> None:
    answer = goft("compare", words)
    assert (answer.code, answer.out, trainings.commands) == (2, "", [])
    for word in expected:
        assert word in answer.err


def test_adapters_whose_runs_would_replace_each_other_are_refused(
    goft: Goft, trainings: Trainings, undrawn: None, tmp_path: Path
) -> None:
    trainings.score = lambda cfg: cfg.seed / 64
    file = tmp_path / "mine" / "adapter" / "lora-r8.yaml"
    file.parent.mkdir(parents=True)
    words = ["--config-dir", "mine", "adapters=[lora-r8,lora]", "seeds=1"]
    file.write_text("defaults: [/adapter/lora@_here_]\nr: 8\n", encoding="utf-8")
    answer = goft("compare", *words)
    assert (answer.code, trainings.commands) == (2, [])
    assert "lora-r8 and lora both have name: lora" in answer.err
    remedy = re.search(r"write (name: \S+) and (recipe: \S+) into (\S+)$", answer.err, re.M)
    assert remedy is not None
    assert remedy[3] == file.name
    with file.open("a", encoding="utf-8") as stream:
        stream.write(f"{remedy[1]}\n{remedy[2]}\n")
    assert goft("compare", *words, "output_dir=told").code == 0
    for command in trainings.commands:  # as it is printed
        _, *typed = shlex.split(command)
        assert goft(*typed, "--cfg", "job").code == 0
    assert [row["size"] for row in table(tmp_path / "told").values()] == ["r=8", "r=2"]
