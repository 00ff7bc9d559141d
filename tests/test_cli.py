"""The command line: every mistake gets one sentence, and light answers stay light."""

from __future__ import annotations

import errno
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from goft_cli import __version__, cli
from goft_cli.cli import READER_GONE, USAGE_ERROR, VERBS, describe
from tests.conftest import ROOT, Goft

# What is typed, and words that the answer must hold.
MISTAKES = [
    ("trian", ["'trian' is not a verb", "goft train", "predict"]),
    ("task=glue/cola", ["not a verb", "goft train task=glue/cola"]),
    ("train --cgf job", ["--cgf", "did you mean --cfg?"]),
    ("train --cfg jobs", ["--cfg", "'job'"]),
    ("train --resolve", ["--resolve", "--cfg job"]),
    ("train --cfg job -m", ["--cfg and --multirun"]),
    ("train --config-dir nowhere", ["--config-dir nowhere", "no such folder"]),
    ("train sed=1", ["sed=1", "did you mean seed?"]),
    ("train adapter.methd=qgoft", ["did you mean adapter.method?"]),
    ("train learning_rate=1", ["did you mean trainer.learning_rate?"]),
    ("train +adapter.methd=qgoft", ["+adapter.methd", "did you mean adapter.method?"]),
    ("train ++adapter.methd=qgoft", ["adapter.methd", "did you mean adapter.method?"]),
    ("train +seed=1", ["seed is already a key"]),
    ("train adaptr=goft", ["did you mean adapter?"]),
    ("train adapter=gofd", ["no such adapter", "did you mean adapter=goft?"]),
    ("train task=cola", ["task=cola", "did you mean task=glue/cola?"]),
    ("train task=glue", ["expected one of glue/cola"]),
    ("train adapter.method=qgof", ["did you mean adapter.method=qgoft?"]),
    ("train trainer.optim=zzz", ["trainer.optim=zzz", "adamw_torch"]),
    ("train trainer.learning_rate=fast", ["trainer.learning_rate=fast: expected a number"]),
    ("train seed=1.5", ["seed=1.5: expected a whole number"]),
    ("train trainer.learning_rate=-1", ["trainer.learning_rate=-1.0", "above 0"]),
    ("train trainer.eval_strategy=steps", ["trainer.eval_steps=None", "100"]),
    ("train adapter.penalty_weight=-1", ["adapter.penalty_weight=-1", "at least 0"]),
    ("train task.classifier_dropout=1", ["task.classifier_dropout=1", "below 1"]),
    ("train adapter=lora adapter.r=0", ["adapter.r=0", "at least 1"]),
    ("train seed=[1", ["cannot read 'seed=[1'", "quotes"]),
    ("train seed=${nowhere}", ["nowhere"]),
    ("train demo/acceptability", ["did you mean task=demo/acceptability?"]),
    ("train seed=1,2", ["seed=1,2", "needs -m"]),
    ("train -m adapter=goft,lroa", ["did you mean adapter=lora?"]),
    ("train task=mmlu/full", ["nothing to train on", "goft eval task=mmlu/full"]),
    ("train benchmark=mmlo", ["did you mean benchmark=mmlu?"]),
    ("train benchmark=mmlu benchmark.shot=[5]", ["did you mean benchmark.shots?"]),
    ("eval", ["found neither of adapter and model", "pass adapter=RUN_FOLDER", "model=NAME task="]),
    ("eval adapter=x task=mmlu/full model=tiny-llama", ["found both of adapter and model"]),
    ("eval model=tiny-llama", ["model goes with a benchmark", "task=mmlu/full"]),
    ("eval adapter=x shots=5", ["shots goes with a benchmark"]),
    ("eval adapter=x harness=lm_eval", ["harness goes with a benchmark"]),
    ("eval task=mmlu/full model=tiny-llama merged=true", ["merged and base_model go with a run"]),
    ("eval task=mmlu/full model=tiny-llama data_dir=no", ["task.data_dir=no: no such folder"]),
    ("eval adapter=x task=mmlu/ful", ["task=mmlu/ful", "did you mean task=mmlu/full?"]),
    ("eval adapter=x task=mmlu", ["expected one of mmlu/full, mmlu/legacy"]),
    ("eval adapter=x task=mmlu/full shot=5", ["did you mean shots?"]),
    ("eval adapter=x task=mmlu/full task.shot=5", ["did you mean task.shots?"]),
    ("eval adapter=x task=mmlu/full shots=-1", ["task.shots=[-1]", "at least 0"]),
    ("eval adapter=x task=mmlu/full eval.harness=lm_eval", ["did you mean harness?"]),
    ("eval task=mmlu/full model=tiny-lama", ["did you mean model=tiny-llama?"]),
    ("eval mmlu/full", ["did you mean task=mmlu/full?"]),
    ("eval adapter=nowhere", ["adapter=nowhere", "no run of goft train"]),
    ("eval adapter=x bach_size=3", ["did you mean batch_size?"]),
    ("eval adapter=x batch_size=0", ["batch_size=0", "at least 1"]),
    ("predict adapter=x", ["neither", "input=FILE"]),
    ("predict adapter=x model=minilm-l6", ["there is no key model"]),
    ("merge", ["adapter has no value"]),
]


@pytest.mark.parametrize(("words", "expected"), MISTAKES, ids=[words for words, _ in MISTAKES])
def test_a_mistake_gets_one_sentence(words: str, expected: list[str], goft: Goft) -> None:
    answer = goft(*words.split())
    assert answer.code == USAGE_ERROR
    assert answer.out == ""
    (sentence,) = answer.err.splitlines()
    assert sentence.startswith("goft: ")
    for word in expected:
        assert word in sentence
    for noise in ("Traceback", "Error", "HYDRA_FULL_ERROR", "append", "prefix"):
        assert noise not in sentence
    typed = set(re.findall(r"\+[\w.]+", words.replace("++", "+")))
    assert set(re.findall(r"\+[\w.]+", sentence)) <= typed, "nobody is told to prefix a +"


@pytest.mark.parametrize("words", [[], ["--help"], ["help"]])
def test_help_names_every_verb(words: list[str], goft: Goft) -> None:
    answer = goft(*words)
    assert (answer.code, answer.err) == (0, "")
    assert all(f"  {verb} " in answer.out for verb in VERBS)


@pytest.mark.parametrize("words", [["--version"], ["train", "--version"]])
def test_version(words: list[str], goft: Goft) -> None:
    assert goft(*words).out == f"goft {__version__}\n"


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_explains_its_keys(verb: str, goft: Goft) -> None:
    answer, trains = goft(verb, "--help"), {"train", "compare"}
    assert (answer.code, answer.err) == (0, "")
    assert ("task: demo/acceptability, " in answer.out) == (verb in {*trains, "eval"})
    assert ("adapter: adalora, " in answer.out) == (verb in trains)
    assert ("learning_rate:" in answer.out) == (verb in trains)
    assert "batch_size: 64" in answer.out or verb in {"merge", "report"}
    assert "schema" not in answer.out


def test_info_shows_how_a_configuration_came_about(goft: Goft) -> None:
    answer = goft("train", "--info", "defaults")
    assert answer.code == 0
    assert "demo/acceptability" in answer.out


def test_cfg_prints_nothing_but_yaml(goft: Goft) -> None:
    answer = goft("train", "task=glue/rte", "adapter=qgoft", "--cfg", "job", "--resolve")
    printed = yaml.safe_load(answer.out)
    assert (answer.code, answer.err) == (0, "")
    assert printed["trainer"]["learning_rate"] == 2e-3
    assert printed["adapter"]["penalty_weight"] == 0.05
    assert printed["output_dir"] == "outputs/glue/rte/tiny-deberta-v3/qgoft/seed42"


def test_debug_adds_the_traceback(goft: Goft) -> None:
    answer = goft("train", "--debug", "trainer.learning_rate=-1")
    assert answer.code == USAGE_ERROR
    assert "Traceback" in answer.err
    assert answer.err.splitlines()[-1].startswith("goft: trainer.learning_rate=-1.0")


def test_a_crash_is_told_in_one_line(goft: Goft, monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(*_: object) -> None:
        raise RuntimeError("one\ntwo")

    monkeypatch.setattr("goft_cli.preflight.check_inputs", crash)
    answer = goft("train")
    assert answer.code == 1
    assert answer.err == (
        "goft: unexpected RuntimeError: one two (run again with --debug for the traceback)\n"
    )


@pytest.mark.parametrize(("number", "word"), [(28, "full"), (13, "permission"), (30, "read-only")])
def test_an_unwritable_disk_is_the_users_to_mend(number: int, word: str) -> None:
    sentence, code = describe(OSError(number, "no", "outputs/x"), ["train"])
    assert code == USAGE_ERROR
    assert sentence.startswith("outputs/x: ")
    assert word in sentence


def test_an_interrupt_is_no_traceback(goft: Goft, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("goft_cli.preflight.check_inputs", interrupt)
    answer = goft("train")
    assert (answer.code, answer.err) == (130, "goft: interrupted; the same command resumes\n")


def test_a_sweep_stops_at_the_first_refused_job(
    goft: Goft, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    monkeypatch.setattr("goft_cli.commands.train.train", lambda cfg: seen.append(cfg.seed))
    answer = goft("train", "-m", "seed=7", "trainer.logging_steps=1,0,2")
    assert answer.code == USAGE_ERROR
    assert seen == [7]
    assert answer.err.startswith("goft: job 1 (seed=7 trainer.logging_steps=0): ")


HEAVY = ("torch", "transformers", "peft", "datasets", "numpy")
LIGHT = """
import sys
from goft_cli.cli import main
code = main()
print(",".join(name for name in {heavy!r} if name in sys.modules), file=sys.stderr)
sys.exit(code)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        "--help",
        "train --cfg job",
        "train --help",
        "train adapter.methd=1",
        "eval adapter=x --cfg job",
    ],
)
def test_light_answers_import_nothing_heavy(words: str, goft_process: Goft) -> None:
    answer = goft_process(*words.split(), code=LIGHT.format(heavy=HEAVY))
    assert answer.err.splitlines()[-1] == ""


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
    assert process.wait(60) in {0, READER_GONE}  # 0 where the output passed through logging


# A line as typed so far, candidates that must be offered, and candidates that must not.
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
    assert not {word for word in words if "schema" in word}
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
    sentence, code = cli.describe(error, ["train"])
    assert code == cli.USAGE_ERROR
    assert "the disk is full; free some space and start the same command again" in sentence
