"""Each goft line of the documents runs on a tiny model; the words of other lines are checked."""

from __future__ import annotations

import argparse
import json
import re
import runpy
import shlex
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from accelerate.commands.launch import launch_command_parser
from torch.distributed.run import get_args_parser

from goft_cli.compose.recomposition import compose_train
from goft_cli.data.sources import read_demo
from goft_cli.studies.recipes import select
from goft_cli.system.locations import data_root
from goft_cli.verbs.compare import comparison, dry_run, runs
from goft_cli.verbs.compare.runs import PER_COMPARISON
from goft_cli.verbs.reproduce.rehearsal import SHORT, stand_ins
from goft_cli.verbs.train import train
from tests.conftest import ROOT, Goft
from tests.support.documents import (
    LINES,
    OF_SOME_RUN,
    OTHER_LANGUAGES,
    blocks,
    lines_of,
    write_own_data,
    write_own_task,
)
from tests.support.hub_caches import cache_dataset, cache_model, turn_to
from tests.support.hub_server import Hub

ON_THE_HUB = {
    "microsoft/deberta-v3-base": "tiny-deberta-v3",
    "meta-llama/Llama-2-7b-hf": "tiny-llama",
}
"""The shipped model that is cached under the name of a model on the hub."""
MODELS = {
    "instruct": "tiny-llama",
    "vtab": "tiny-vit",
    "own/images": "tiny-vit",
    "own/instruction": "tiny-llama",
    "own/chat": "tiny-llama",
    "demo/talk": "tiny-llama",
    "demo/instructions": "tiny-llama",
}
"""The shipped model for a task or task family that does not use the encoder."""
SHORT_WINDOWS = ["task.max_length=128", "task.doc_stride=32"]
SHORTER = {"squad": SHORT_WINDOWS, "own/qa": SHORT_WINDOWS}
"""Words that fit a task to the shipped encoder's 128 positions."""
SWAPPED = {"model", "model.path", "task.data_dir", "launcher.num_processes", "seeds"}
"""Keys of a command that a test replaces by its own values."""
OF_OWN_DATA = {"data", "validation", "group", "split"}
"""Keys for reading the user's own files, which a test replaces by other data."""
OWN_FOLDER, PRESET = "my_configs", "+sweep="

SHOWN = [line for line in lines_of("goft") if "--cfg" in line or line == "goft reproduce list"]
LAUNCHED = lines_of("torchrun ", "accelerate launch ")
TRAINED = sorted(
    {*lines_of("goft train"), *(f"goft{line.partition('goft_cli')[2]}" for line in LAUNCHED)}
    - {*SHOWN, *OF_SOME_RUN}
)
COMPARED = lines_of("goft compare ")
REPRODUCED = sorted({*lines_of("goft reproduce ")} - {*SHOWN})
ON_A_BENCHMARK = lines_of("goft eval task=")
ON_A_RUN = sorted(
    {*lines_of("goft eval ", "goft predict ", "goft merge ", "goft report ", "goft verify ")}
    - {*ON_A_BENCHMARK, *OF_SOME_RUN}
)
OF_THE_HUB = lines_of("goft plan ", "goft doctor ", "goft fetch ")
STARTED = lines_of("goft init ", "goft schema")
PUSHED = lines_of("goft push ")
SCRIPTS = lines_of("python scripts/")
TARGETS = lines_of("make ")
FOLDERS = lines_of("RUN=")
INSTALLATION = lines_of("pip install ", "python -m venv ", "source ../goft/.venv/")
ACTIVATION = "source .venv/bin/activate"


def test_no_line_is_left() -> None:
    goft_lines = [*SHOWN, *TRAINED, *COMPARED, *REPRODUCED, *ON_A_BENCHMARK, *ON_A_RUN]
    goft_lines += [*OF_SOME_RUN, *OF_THE_HUB, *PUSHED, *STARTED]
    others = [*LAUNCHED, *SCRIPTS, *TARGETS, *FOLDERS, *INSTALLATION, ACTIVATION]
    assert {*goft_lines, *others} >= LINES
    assert {language for language, _ in blocks()} == {"bash", *OTHER_LANGUAGES}


def words_of(line: str) -> list[str]:
    """Return the words after the program's name."""
    return shlex.split(line)[1:]


def key_of(word: str) -> str:
    """Return the key of a word."""
    return word.partition("=")[0]


def first_of_each(word: str) -> str:
    """Return the word with only the first value of a sweep."""
    key, given, value = word.partition("=")
    return word if value.startswith(("[", "{")) else f"{key}{given}{value.partition(',')[0]}"


@contextmanager
def rehearsed(words: Sequence[str]) -> Iterator[list[str]]:
    """Yield the words of one short run on a shipped model; its few rows exist only in the block."""
    named = {key_of(word): word.partition("=")[2] for word in words}
    task = named.get("task", "")
    family = task if task in {*MODELS, *SHORTER} else task.partition("/")[0]
    kept = [first_of_each(word) for word in words if key_of(word) not in {*SWAPPED, "-m"}]
    kept = [str(ROOT / word) if word.startswith("recipes/") else word for word in kept]
    kept += [f"model={MODELS.get(family, 'tiny-deberta-v3')}", *SHORTER.get(family, [])]
    kept += [*SHORT, "output_dir=run"]
    run = [word for word in kept if "=" in word and key_of(word) not in PER_COMPARISON]
    if OWN_FOLDER in words:
        write_own_task(Path(OWN_FOLDER))
        run.append(f"hydra.searchpath=[file://{Path(OWN_FOLDER).resolve()}]")
    write_own_data(words)
    kept = [word for word in kept if key_of(word) not in OF_OWN_DATA]
    with stand_ins(compose_train(run)) as cfg:
        benchmark = [f"benchmark.data_dir={cfg.benchmark.data_dir}"] if cfg.benchmark else []
        one = [word for word in kept if not word.startswith(PRESET)]  # the sweep's first run
        yield [*one, f"task.data_dir={cfg.task.data_dir}", *benchmark]


@pytest.mark.slow
@pytest.mark.parametrize("line", TRAINED)
def test_a_training_runs(line: str, goft: Goft, tmp_path: Path) -> None:
    with rehearsed(words_of(line)[1:]) as words:
        answer = goft("train", *words)
    assert answer.code == 0, answer.err
    assert (tmp_path / "run" / "metrics.json").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("line", COMPARED)
def test_a_comparison_runs(
    line: str, goft: Goft, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # train in this process, not in a new one; figures and forecasts are slow, and tested elsewhere
    monkeypatch.setattr(runs, "finish", lambda run, **_: train(run.cfg))
    monkeypatch.setattr(dry_run, "forecast_seconds", lambda _: 60.0)
    monkeypatch.setattr(comparison, "draw", lambda *_: None)
    monkeypatch.setattr(comparison, "draw_tuning", lambda *_: None)
    fewer = ["adapters=[goft,lora]", "tune=2"] if "tune=" in line else []
    with rehearsed(words_of(line)[1:]) as words:
        answer = goft("compare", *words, "seeds=1", "trainer.max_steps=1", *fewer)
    assert answer.code == 0, answer.err
    assert (tmp_path / "run" / "comparison.md").is_file() != ("dry_run=true" in line)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted({shlex.split(line)[2] for line in REPRODUCED}))
def test_a_result_of_the_paper_is_rehearsed(name: str, goft: Goft) -> None:
    # another test, that of the recipes, rehearses all cells
    answer = goft("reproduce", select(name)[0].name, "--rehearse", "seed=1")
    assert answer.code == 0, answer.err


@pytest.mark.parametrize("line", ON_A_BENCHMARK)
def test_a_benchmark_is_scored(line: str, goft: Goft, tmp_path: Path) -> None:
    words = [word for word in words_of(line) if not word.startswith(("adapter=", "model="))]
    with stand_ins(compose_train(["model=tiny-llama", "benchmark=mmlu"])) as cfg:
        assert cfg.benchmark is not None
        assert f"task={cfg.benchmark.name}" in words
        answer = goft(*words, "model=tiny-llama", f"data_dir={cfg.benchmark.data_dir}")
    assert answer.code == 0, answer.err
    assert cfg.benchmark.name in answer.out


@pytest.mark.parametrize("line", ON_A_RUN)
def test_a_run_is_used(line: str, goft: Goft, trained: Path, tmp_path: Path) -> None:
    if "outputs" in line:
        shutil.copytree(trained, tmp_path / words_of(line)[1].partition("=")[2] / "run")
    (tmp_path / "new.csv").write_text("id,sentence,which\n7,the cats sleep .,b\n", "utf-8")
    row = {"prompt": "the cats sleep .", "sentence": "the cats sleep ."}
    (tmp_path / "new.jsonl").write_text(json.dumps(row), encoding="utf-8")
    if "undo=true" in line:
        goft("merge", f"adapter={trained}", "output_dir=model", "samples=0")
    answer = goft(*(re.sub(r"\$(RUN|OTHER)", str(trained), word) for word in words_of(line)))
    assert answer.code == 0, answer.err


@pytest.mark.parametrize("line", OF_THE_HUB)
def test_a_run_is_prepared(
    line: str, goft: Goft, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    turn_to(tmp_path / "caches", monkeypatch)
    for name, shipped in ON_THE_HUB.items():
        cached = cache_model(tmp_path / "caches", name)
        shutil.copytree(data_root() / "goft_cli" / "assets" / shipped, cached, dirs_exist_ok=True)
    questions = {split: read_demo("demo:choices", split)[:4] for split in ("dev", "test")}
    cache_dataset(tmp_path / "caches", "cais/mmlu", "all", questions)
    cache_dataset(tmp_path / "caches", "nyu-mll/glue", "cola")
    answer = goft(*words_of(line))
    verb, task, *_ = words_of(line)
    assert answer.code in ({0, 1} if verb == "doctor" else {0}), answer.err
    expected = {"plan": "to download: nothing", "doctor": "unset HF_HUB_OFFLINE"}
    assert expected.get(verb, f"goft {'eval' if 'mmlu' in task else 'train'} {task}") in answer.out


@pytest.mark.parametrize("line", PUSHED)
def test_a_run_is_pushed(line: str, goft: Goft, hub: Hub, trained: Path) -> None:
    answer = goft(*(word.replace("$RUN", str(trained)) for word in words_of(line)))
    assert answer.code == 0, answer.err
    assert [f"repo={repo}" for repo in hub.files] == words_of(line)[2:3]


@pytest.mark.parametrize("line", STARTED)
def test_a_task_is_written(line: str, goft: Goft) -> None:
    write_own_data(["task=own/classification", *words_of(line)])
    answer = goft(*words_of(line))
    assert answer.code == 0, answer.err


@pytest.mark.parametrize("line", SHOWN)
def test_something_is_shown(line: str, goft: Goft) -> None:
    answer = goft(*words_of(line))
    assert answer.code == 0, answer.err
    assert answer.out


@pytest.mark.parametrize("line", LAUNCHED)
def test_a_launcher_takes_its_words(line: str) -> None:
    program, *words = shlex.split(line)
    if program == "torchrun":
        taken = get_args_parser().parse_args(words)
    else:
        taken = launch_command_parser().parse_args(words[1:])
        assert (ROOT / taken.config_file).is_file()
    assert (taken.module, taken.training_script) == (True, "goft_cli")
    assert f"goft {shlex.join(taken.training_script_args)}" in TRAINED


@pytest.mark.parametrize("line", SCRIPTS)
def test_a_script_understands_its_words(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Check the arguments only; `tests/scripts` tests what the scripts do."""
    read = argparse.ArgumentParser.parse_args

    def stop(self: argparse.ArgumentParser, *arguments: Sequence[str] | None) -> None:
        read(self, *arguments)
        sys.exit(0)

    script, *words = words_of(line)
    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", stop)
    monkeypatch.setattr(sys, "argv", [script, *words])
    with pytest.raises(SystemExit) as done:
        runpy.run_path(str(ROOT / script), run_name="__main__")
    assert done.value.code == 0


def test_a_table_of_runs_is_printed(
    trained: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["runs_table.py", str(trained.parent)])
    runpy.run_path(str(ROOT / "scripts" / "runs_table.py"), run_name="__main__")
    assert "| qgoft |" in capsys.readouterr().out


@pytest.mark.parametrize("line", TARGETS)
def test_a_target_of_make_is_there(line: str) -> None:
    targets = re.findall(r"^(\w+):.*##", (ROOT / "Makefile").read_text("utf-8"), re.M)
    assert {*words_of(line)} <= {*targets}


def test_the_environment_is_where_make_puts_it() -> None:
    assert f"VENV ?= {Path(words_of(ACTIVATION)[0]).parts[0]}" in (ROOT / "Makefile").read_text()


def test_folders_are_those_of_trainings() -> None:
    others = (" -", " data=", "model=auto")  # sweeps, and the user's own data or model
    plain = [words_of(line)[1:] for line in TRAINED if not any(one in line for one in others)]
    made = {compose_train(words).output_dir for words in plain}
    assert {line.partition("=")[2] for line in FOLDERS} <= made
