"""Words that are mistyped, missing or out of range are refused with one sentence."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from goft_cli.system.errors import USAGE_ERROR
from tests.conftest import Goft
from tests.support.refusals import NOISE, snapshot

# The typed words, and parts that the error message must contain.
MISTAKES = [
    ("trian", ["'trian' is not a verb", "goft train", "predict"]),
    ("task=glue/cola", ["not a verb", "goft train task=glue/cola"]),
    ("train --cgf job", ["--cgf", "did you mean --cfg?"]),
    ("train --cfg jobs", ["--cfg", "'job'"]),
    ("train --resolve", ["--resolve", "--cfg job"]),
    ("train --cfg job -m", ["--cfg and --multirun"]),
    ("train --config-dir nowhere", ["--config-dir nowhere", "no such folder"]),
    ("train hydra.run.dir=/elsewhere", ["hydra.run.dir=/elsewhere", "output_dir=DIR"]),
    ("train -m hydra.job.chdir=true seed=1,2", ["hydra.job.chdir=true", "output_dir=DIR"]),
    ("train sed=1", ["sed=1", "did you mean seed?"]),
    ("train lr=1", ["lr=1", "did you mean trainer.learning_rate?"]),
    ("train trainer.multi_gpu=3", ["keys of trainer", "learning_rate", "use_cpu"]),
    ("train task.qqq=1", ["keys of task", "classifier_dropout"]),
    (
        "train task=demo/digits label=kind",
        ["there is no key task.label_column", "keys of task are"],
    ),
    ("train adapter.methd=qgoft", ["did you mean adapter.method?"]),
    ("train +adapter.methd=qgoft", ["+adapter.methd", "did you mean adapter.method?"]),
    ("train +seed=1", ["seed is already a key"]),
    ("train adaptr=goft", ["did you mean adapter?"]),
    ("train adapter=gofd", ["no such adapter", "did you mean adapter=goft?"]),
    ("train task=cola", ["task=cola", "did you mean task=glue/cola?"]),
    ("train task=glue", ["expected one of glue/cola"]),
    ("train adapter.method=qgof", ["did you mean adapter.method=qgoft?"]),
    ("train trainer.optim=zzz", ["trainer.optim=zzz", "adamw_torch"]),
    ("train trainer.learning_rate=fast", ["trainer.learning_rate=fast: expected a number"]),
    ("train trainer.learning_rate=-1", ["trainer.learning_rate=-1.0", "above 0"]),
    ("train trainer.eval_strategy=steps", ["trainer.eval_steps=None", "100"]),
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
    ("eval model=tiny-llama", ["model needs a benchmark", "task=mmlu/full"]),
    ("eval adapter=x shots=5", ["shots needs a benchmark"]),
    ("eval task=mmlu/full model=tiny-llama merged=true", ["merged, base_model and strength need"]),
    ("eval task=mmlu/full model=tiny-llama strength=0", ["strength need a run", "drop them"]),
    ("eval task=mmlu/full model=tiny-llama data_dir=no", ["task.data_dir=no: no such folder"]),
    ("eval adapter=x task=mmlu/ful", ["task=mmlu/ful", "did you mean task=mmlu/full?"]),
    ("eval adapter=x task=mmlu/full shot=5", ["did you mean shots?"]),
    ("eval adapter=x task=mmlu/full shots=-1", ["task.shots=[-1]", "at least 0"]),
    ("eval adapter=nowhere", ["adapter=nowhere", "there is no such folder"]),
    (
        "eval adapter=seed1-a.b=2,c=1",
        ["adapter=seed1-a.b=2,c=1: there is no such folder"],
    ),
    ("eval adapter=x bach_size=3", ["did you mean batch_size?"]),
    ("predict adapter=x", ["neither", "input=FILE"]),
    ("predict adapter=x model=minilm-l6", ["there is no key model"]),
    ("eval adapter=x task.max_length=3", ["task.max_length=3", "base_model=PATH", "data_dir=DIR"]),
    ("eval adapter=x model.path=y task.data_dir=z", ["adapter=x", "there is no such folder"]),
    ("verify x model.revision=y", ["model.revision=y", "base_model=PATH"]),
    ("merge", ["adapter has no value", "pass adapter=RUN_FOLDER"]),
    ("train adapter=goft --cfg job adapter=gofd", ["did you mean adapter=goft?"]),
    ("train --cfg job sed=1", ["goft: sed=1", "did you mean seed?"]),
    ("train --package trainer --cfg job adapter=gofd", ["did you mean adapter=goft?"]),
    ("train --config-dir=. sed=1", ["goft: sed=1", "did you mean seed?"]),
    ("compare adapters=goft", ["adapters=goft: expected a list, such as adapters=[goft]"]),
    ("reproduce tabel1", ["tabel1", "did you mean table1?", "goft reproduce list"]),
    (
        "reproduce table1/cola --rehearsal",
        ["--rehearsal is not a flag", "did you mean --rehearse?"],
    ),
    ("reproduce table1/cola/goft model.path=./no", ["table1/cola/goft, seed 1", "model.path=./no"]),
    ("reproduce table1/cola qgoft", ["'qgoft' has no key", "seed=1,2,3"]),
    ("reproduce table1/cola seed=1,1", ["seed=1,1", "each once"]),
    ("reproduce table1/cola/goft trainer.epochs=1", ["trainer.epochs=1: there is no key"]),
    ("rewind nowhere", ["adapter=nowhere", "there is no such folder"]),
    ("rewind x y", ["x and y", "one run"]),
    ("rewind x at=[0,2]", ["at=[0,2]", "from 0 to 1.5", "at=[0,.5,.75,1]"]),
    ("rewind x at=[half]", ["at=[half]", "expected numbers"]),
    ("rewind x at=[1,1]", ["each once"]),
    ("rewind x retian=null", ["did you mean retain?"]),
    ("rewind x retain=ckka", ["did you mean cka?"]),
    ("verify", ["found none", "goft verify RUN_FOLDER"]),
    ("verify nowhere", ["runs=nowhere", "no finished run"]),
    ("verify adapter=x runs=[y]", ["both adapter and runs"]),
    ("verify runs=[]", ["runs=[]"]),
    ("verify x --max-sample 3", ["--max-sample is not a flag", "did you mean --max-samples?"]),
    ("push adapter=x", ["repo has no value"]),
    ("push adapter=x repo=y merged=true as_lora=8", ["merged and as_lora exclude each other"]),
    ("fetch task=glue/cola", ["output_dir has no value"]),
    ("merge adapter=x --as-lroa 8", ["--as-lroa is not a flag", "did you mean --as-lora?"]),
    ("merge adaptr=x --as-lora 8", ["adaptr=x: there is no key adaptr", "did you mean adapter?"]),
    ("merge adapter=x --as-lora 1.5", ["as_lora=1.5", "a rank, or a share"]),
    ("train adapter=../task/glue/cola", ["adapter=../task/glue/cola", "qgoft"]),
    ("train =1", ["'=1' has no key"]),
    ("train trainer=null", ["trainer=null: ", "default"]),
    ("train adapter=3", ["adapter=3", "adalora"]),
    ("train --config-name task/glue/cola", ["--config-name task/glue/cola", "task=glue/cola"]),
    ("train --config-name hydra_settings", ["--config-name"]),
    ("train --config-name nonesuch", ["nonesuch"]),
]


@pytest.mark.parametrize(("words", "expected"), MISTAKES, ids=[words for words, _ in MISTAKES])
def test_a_mistake_gets_one_sentence(
    words: str, expected: list[str], goft: Goft, tmp_path: Path
) -> None:
    (tmp_path / "precious").write_text("x")
    before = snapshot(tmp_path)
    answer = goft(*words.split())
    assert answer.code == USAGE_ERROR
    # `goft reproduce` prints the command of a recipe before it runs it
    assert answer.out == "" or words.startswith("reproduce")
    (sentence,) = answer.err.splitlines()
    assert sentence.startswith("goft: ")
    for word in expected:
        assert word in sentence
    for noise in (*NOISE, "Error", "append", "prefix"):
        assert noise not in sentence
    typed = set(re.findall(r"\+[\w.]+", words.replace("++", "+")))
    assert set(re.findall(r"\+[\w.]+", sentence)) <= typed, "nobody is told to prefix a +"
    after = {name: at for name, at in snapshot(tmp_path).items() if not name.startswith("outputs")}
    assert after == before


LONG = "a" * 100_000


@pytest.mark.parametrize(
    "word",
    [
        "{}",
        "{}=1",
        "--{}",
        "adapter={}",
        "seed=[{}",
        "trainer.optim={}",
        "model.path=./{}",
        "output_dir={}",
    ],
)
def test_a_long_word_is_echoed_shortened(word: str, goft: Goft, tmp_path: Path) -> None:
    answer = goft("train", word.format(LONG))
    assert answer.code == USAGE_ERROR, answer.err[:2000]
    (sentence,) = answer.err.splitlines()
    assert len(sentence) < 5000
    assert LONG[:50] in sentence
    assert not list(tmp_path.glob(f"{LONG[0]}*"))


def test_a_verb_as_long_is_too(goft: Goft) -> None:
    answer = goft(LONG)
    assert answer.code == USAGE_ERROR
    assert len(answer.err) < 5000
