"""Test the command line: help, flags, completion, signals, and one sentence for each error."""

from __future__ import annotations

import errno
import re
import signal
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest
import yaml

from goft_cli import __version__
from goft_cli.cli import READER_GONE
from goft_cli.compose.refusals import sentence_and_code
from goft_cli.compose.words import VERBS
from goft_cli.config import SCHEMAS
from goft_cli.config.meanings import meanings
from goft_cli.system.errors import CRASH, USAGE_ERROR
from tests.conftest import ROOT, Goft

NO_ROWS = {"chat", "fetch", "reproduce", "report", "schema"}
"""Verbs that compute nothing on batches of rows."""


@pytest.mark.parametrize("words", [[], ["--help"], ["help"]])
def test_help_names_every_verb(words: list[str], goft: Goft) -> None:
    answer = goft(*words)
    assert (answer.code, answer.err) == (0, "")
    assert all(f"  {verb} " in answer.out for verb in VERBS)


@pytest.mark.parametrize("words", [["--version"], ["train", "--version"]])
def test_version(words: list[str], goft: Goft) -> None:
    found = re.fullmatch(r"goft (\S+) \(([0-9a-f]{40}\+?|no commit recorded)\)\n", goft(*words).out)
    assert found is not None
    assert found[1] == __version__


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_explains_its_keys(verb: str, goft: Goft) -> None:
    answer, trains = goft(verb, "--help"), {"train", "compare", "plan", "init"}
    assert (answer.code, answer.err) == (0, "")
    composes_task = verb in {*trains, "eval", "doctor", "fetch"}
    assert ("task: demo/acceptability, " in answer.out) == composes_task
    assert ("adapter: adalora, " in answer.out) == (verb in {*trains, "doctor"})
    assert ("learning_rate" in answer.out) == (verb in {*trains, "doctor", "fetch"})
    assert "batch_size=64" in answer.out or verb in NO_ROWS
    assert ("schema" in answer.out) == (verb == "schema")


def test_every_key_has_a_meaning_to_show() -> None:
    for name, schema in SCHEMAS.items():
        shown = meanings(schema)
        assert [entry.name for entry in fields(schema) if not shown.get(entry.name)] == [], name


def test_help_shows_the_meaning_beside_the_key(goft: Goft) -> None:
    page = goft("train", "adapter=lora", "--help").out
    (line,) = [line for line in page.splitlines() if line.startswith("  adapter.r=")]
    assert "Rank" in line


def test_help_breaks_no_name_and_lists_short_forms(goft: Goft) -> None:
    page = goft("train", "--help").out
    assert not [line for line in page.splitlines() if line.endswith("-")]
    assert "data for task.data_dir" in page
    assert "benchmark for task" in goft("eval", "--help").out
    assert "short forms" not in goft("merge", "--help").out


def test_info_shows_how_a_configuration_came_about(goft: Goft) -> None:
    answer = goft("train", "--info", "defaults")
    assert answer.code == 0
    assert "demo/acceptability" in answer.out


def test_cfg_prints_nothing_but_yaml(goft: Goft) -> None:
    answer = goft("train", "task=glue/rte", "--cfg", "job", "adapter=qgoft", "--resolve")
    printed = yaml.safe_load(answer.out)
    assert (answer.code, answer.err) == (0, "")
    assert printed["trainer"]["learning_rate"] == 2e-3
    assert printed["adapter"]["penalty_weight"] == 0.05
    assert printed["output_dir"] == "outputs/glue/rte/tiny-deberta-v3/qgoft/seed42"


def test_a_panic_of_a_library_is_a_sentence(goft: Goft, monkeypatch: pytest.MonkeyPatch) -> None:
    panic = type("PanicException", (BaseException,), {})

    def break_down(arguments: list[str]) -> int:
        raise panic("no entry found for key")

    monkeypatch.setattr("goft_cli.cli.run", break_down)
    answer = goft("train")
    assert answer.code == CRASH
    assert "no entry found for key" in answer.err
    assert "Traceback" not in answer.err


def test_debug_adds_the_traceback(goft: Goft) -> None:
    answer = goft("train", "--debug", "trainer.learning_rate=-1")
    assert answer.code == USAGE_ERROR
    assert "Traceback" in answer.err
    assert answer.err.splitlines()[-1].startswith("goft: trainer.learning_rate=-1.0")


def test_a_crash_is_told_in_one_line(goft: Goft, monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(*_: object) -> None:
        raise RuntimeError("one\ntwo")

    monkeypatch.setattr("goft_cli.run.preflight.check_inputs", crash)
    answer = goft("train")
    assert answer.code == 1
    assert answer.err == (
        "goft: unexpected RuntimeError: one two (run again with --debug for the traceback)\n"
    )


@pytest.mark.parametrize(("number", "word"), [(28, "full"), (13, "permission"), (30, "read-only")])
def test_an_unwritable_disk_is_a_mistake_of_the_user(number: int, word: str) -> None:
    sentence, code = sentence_and_code(OSError(number, "no", "outputs/x"), ["train"])
    assert code == USAGE_ERROR
    assert sentence.startswith("outputs/x: ")
    assert word in sentence


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_signal_is_an_exit_code_and_a_sentence(
    number: signal.Signals, code: int, goft: Goft, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "goft_cli.run.preflight.check_inputs", lambda _: signal.raise_signal(number)
    )
    before = signal.getsignal(number)
    answer = goft("train")
    said = f"goft: interrupted by {number.name}; the same command resumes\n"
    assert (answer.code, answer.err) == (code, said)
    assert signal.getsignal(number) is before


@pytest.mark.parametrize("ignored", [True, False])
def test_a_command_that_nohup_started_outlives_its_terminal(
    ignored: bool, goft: Goft, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "goft_cli.run.preflight.check_inputs", lambda _: signal.raise_signal(signal.SIGHUP)
    )
    monkeypatch.setattr("goft_cli.training.launch_checks.is_rank", lambda: True)
    monkeypatch.setattr("goft_cli.run.pipeline.run", lambda _, **__: None)
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN if ignored else signal.SIG_DFL)
    try:
        assert goft("train").code == (0 if ignored else 129)
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.slow
@pytest.mark.parametrize("words", ["--help", "train --cfg job", "train --help", "train --info"])
def test_a_reader_may_leave(words: str, tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "goft_cli", *words.split()],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(60) in {0, READER_GONE}  # 0 if the output went through logging


# A line as typed so far, candidates that must be offered, and candidates that must not be.
COMPLETIONS = [
    ("goft ", {*VERBS}, set()),
    ("goft tr", {"train"}, {"eval"}),
    ("goft compare ", {"task=", "trainer.", "adapters.", "reference="}, {"schema"}),
    ("goft report ", {"runs="}, {"task=", "adapter="}),
    ("goft train ", {"task=", "adapter=", "trainer.", "seed="}, {"schema", "verb=", "hydra."}),
    ("goft train adapter=q", {"adapter=qgoft"}, {"adapter=goft"}),
    ("goft train task=", {"task=glue/cola", "task=demo/acceptability"}, set()),
    ("goft train task=glue/c", {"task=glue/cola"}, {"task=glue/rte"}),
    ("goft train task=glue/cola trainer.lea", {"trainer.learning_rate="}, {"seed="}),
    ("goft train schema/", set(), {"schema/model="}),
    ("goft train +", set(), {"+schema", "+model="}),
    ("goft train --cf", set(), set()),
    ("goft train seed=[1 a", set(), set()),
    ("goft eval ", {"adapter=", "batch_size=", "model=", "task="}, {"schema", "tracker="}),
    ("goft eval task=mmlu/", {"task=mmlu/full", "task=mmlu/legacy"}, {"task=glue/cola"}),
    ("goft eval task=mmlu/full task.sh", {"task.shots."}, {"shots="}),
    ("goft predict ", {"adapter=", "input="}, {"model=", "task="}),
    ("goft reproduce table1/c", {"table1/cola"}, {"table1/rte", "table1/cola/goft"}),
    ("goft reproduce table1/cola/", {"table1/cola/goft"}, {"table1/rte/goft"}),
    ("goft verify ", {"runs=", "max_samples=", "base_model="}, {"schema", "task="}),
    ("goft verify outputs/a/b=1 max", {"max_samples="}, {"runs="}),
    ("goft rewind outputs/a/b=1 a", {"adapter=", "at."}, {"retain="}),
    ("goft nothing ", set(), set()),
]


@pytest.mark.parametrize(("line", "offered", "withheld"), COMPLETIONS)
def test_completion(
    line: str,
    offered: set[str],
    withheld: set[str],
    goft: Goft,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COMP_LINE", line)
    answer = goft("-sc", "query=bash")
    words = set(answer.out.split())
    assert (answer.code, answer.err) == (0, "")
    assert offered <= words
    assert not withheld & words
    assert not {word for word in words if "schema/" in word}
    typed = "" if line.endswith(" ") else line.split()[-1]
    assert all(word.startswith(typed) for word in words)


def test_completion_installs_in_bash(goft: Goft) -> None:
    answer = goft("train", "--shell-completion", "install=bash")
    assert answer.code == 0
    assert "complete -o nospace" in answer.out
    assert answer.out.rstrip().endswith("goft")


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device", "model.safetensors"),
        RuntimeError("PytorchStreamWriter failed writing file data/0: file write failed"),
        ValueError("Error while serializing: I/O error: No space left on device (os error 28)"),
    ],
)
def test_a_full_disk_is_named_whoever_says_it(error: Exception) -> None:
    sentence, code = sentence_and_code(error, ["train"])
    assert code == USAGE_ERROR
    assert "the disk is full; free some space and start the same command again" in sentence
