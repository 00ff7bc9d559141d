"""No key of the schema waits until the work is done to be found wrong.

A key that is read only after the work is refused while the words are composed. Any other is read
before the work begins, or whatever its type allows will do. A new key fails here until it is in one
of the tables.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass, replace
from enum import Enum
from importlib import import_module
from typing import Any, get_args, get_type_hints

import pytest

from goft_cli.config import (
    SCHEMAS,
    EvalConfig,
    MergeConfig,
    PredictConfig,
    VerifyConfig,
    VicunaConfig,
)
from goft_cli.errors import GoftError
from goft_cli.preflight import check_inputs
from tests.small import composed

TASKS = {
    "text": "task=demo/acceptability",
    "answers": "task=demo/qa",
    "images": "task=demo/digits",
    "instructions": "task=demo/instructions",
}
TEXT, ANSWERS, IMAGES, INSTRUCTIONS = TASKS.values()
CHOICES, VICUNA, JUDGE = "benchmark=demo-choices", "benchmark=vicuna", "benchmark.judge"

REFUSED: dict[str, list[list[str]]] = {
    "TaskConfig.headline": [
        [TEXT, "task.headline=f1"],
        [ANSWERS, "task.headline=accuracy"],
        [IMAGES, "task.headline=f1"],
        [INSTRUCTIONS, "task.headline=accuracy"],
    ],
    "TaskConfig.headline_split": [
        [TEXT, "task.headline_split=nonesuch"],
        [INSTRUCTIONS, "task.eval_splits=[validation]", "task.headline_split=test"],
        [INSTRUCTIONS, "task.eval_splits=[]", "task.headline_split=test"],
        [INSTRUCTIONS, CHOICES, "benchmark.headline_split=nonesuch"],
    ],
    "TaskConfig.greater_is_better": [
        [TEXT, "task.greater_is_better=false"],
        [INSTRUCTIONS, "task.greater_is_better=true"],
    ],
    "TaskConfig.eval_splits": [
        [TEXT, "task.eval_splits=[test,test]"],
        [TEXT, "task.eval_splits=[../test]"],
    ],
    "TaskConfig.name": [
        [TEXT, "task.name=../x"],
        [INSTRUCTIONS, CHOICES, "benchmark.name=test"],
    ],
    "TextClassificationConfig.metrics": [
        [TEXT, "task.metrics=[nonesuch]"],
        ["task=glue/mnli", "task.metrics=[accuracy,f1]"],
        ["task=glue/stsb", "task.metrics=[accuracy,pearson]", "task.headline=pearson"],
    ],
    "QuestionAnsweringConfig.n_best_size": [[ANSWERS, "task.n_best_size=0"]],
    "QuestionAnsweringConfig.max_answer_length": [[ANSWERS, "task.max_answer_length=0"]],
    "TrainerConfig.per_device_eval_batch_size": [["trainer.per_device_eval_batch_size=0"]],
    "TrainerConfig.save_total_limit": [["trainer.save_total_limit=0"]],
    "TrainerConfig.eval_steps": [["trainer.eval_strategy=steps"]],
    "VicunaConfig.temperature": [[INSTRUCTIONS, VICUNA, "benchmark.temperature=-1"]],
    "VicunaConfig.temperatures": [[INSTRUCTIONS, VICUNA, "benchmark.temperatures={math: -1}"]],
    "VicunaConfig.max_new_tokens": [[INSTRUCTIONS, VICUNA, "benchmark.max_new_tokens=0"]],
    "JudgeConfig.concurrency": [[INSTRUCTIONS, VICUNA, f"{JUDGE}.concurrency=0"]],
    "JudgeConfig.retries": [[INSTRUCTIONS, VICUNA, f"{JUDGE}.retries=-1"]],
    "JudgeConfig.backoff_seconds": [[INSTRUCTIONS, VICUNA, f"{JUDGE}.backoff_seconds=-1"]],
    "JudgeConfig.timeout_seconds": [[INSTRUCTIONS, VICUNA, f"{JUDGE}.timeout_seconds=0"]],
    "JudgeConfig.base_url": [[INSTRUCTIONS, VICUNA, f"{JUDGE}.base_url=nowhere"]],
    "JudgeConfig.api_key_variable": [[INSTRUCTIONS, VICUNA, f"{JUDGE}.api_key_variable=a-b"]],
    "MMLUConfig.shots": [[INSTRUCTIONS, CHOICES, "benchmark.shots=[]"]],
    "AdaLoraAdapterConfig.tinit": [["adapter=adalora", "adapter.tinit=-1"]],
    "AdaLoraAdapterConfig.tfinal": [["adapter=adalora", "adapter.tfinal=0"]],
    "AdaLoraAdapterConfig.deltaT": [["adapter=adalora", "adapter.deltaT=0"]],
    "AdaLoraAdapterConfig.target_r": [["adapter=adalora", "adapter.target_r=0"]],
    "AdaLoraAdapterConfig.beta1": [["adapter=adalora", "adapter.beta1=1"]],
    "AdaLoraAdapterConfig.beta2": [["adapter=adalora", "adapter.beta2=0"]],
    "NoLayersConfig.target_modules": [["adapter=linear", "adapter.target_modules=query"]],
    "FullConfig.modules_to_save": [["adapter=full", "adapter.modules_to_save=classifier"]],
    "TrainConfig.seed": [["seed=-1"]],
    "ModelConfig.name": [["model.name=../x"]],
}
"""Words of `goft train` that are refused before anything is loaded."""

VERBS: dict[str, Callable[[], object]] = {
    "EvalConfig.batch_size": lambda: EvalConfig(adapter="x", batch_size=0),
    "EvalConfig.adapter": EvalConfig,
    "PredictConfig.batch_size": lambda: PredictConfig(adapter="x", text="x", batch_size=0),
    "PredictConfig.max_new_tokens": lambda: PredictConfig(adapter="x", text="x", max_new_tokens=0),
    "PredictConfig.input": lambda: PredictConfig(adapter="x"),
    "PredictConfig.text": lambda: PredictConfig(adapter="x", input="x", text="x"),
    "ExportConfig.batch_size": lambda: MergeConfig(adapter="x", batch_size=0),
    "ExportConfig.samples": lambda: MergeConfig(adapter="x", samples=-1),
    "ExportConfig.tolerance": lambda: MergeConfig(adapter="x", tolerance=-1),
    "ExportConfig.as_lora": lambda: MergeConfig(adapter="x", as_lora=1.5),
    "TrainConfig.run_name": lambda: replace(composed([]), run_name="../x"),
    "VicunaConfig.against": lambda: VicunaConfig(against="x"),
    "VerifyConfig.batch_size": lambda: VerifyConfig(adapter="x", batch_size=0),
    "VerifyConfig.max_samples": lambda: VerifyConfig(adapter="x", max_samples=0),
    "VerifyConfig.adapter": lambda: VerifyConfig(adapter="x", runs=["y"]),
    "VerifyConfig.runs": lambda: VerifyConfig(runs=[]),
}
"""What other verbs refuse as soon as they are composed."""

EARLY: dict[str, str] = {
    "goft_cli.preflight.check_inputs": "TrainConfig.output_dir ModelConfig.path",
    "goft_cli.requirements.check_tokenizer": "ModelConfig.requires",
    "goft_cli.preflight.check_data_dir": "TaskConfig.data_dir",
    "goft_cli.preflight.check_images": "ImageClassificationConfig.generator",
    "goft_cli.backbone.check_architecture": "ModelConfig.architecture",
    "goft_cli.backbone.check_complete": "ModelConfig.head_modules",
    "goft_cli.config.model.ModelConfig": "ModelConfig.revision",
    "goft_cli.command_line.composition.recipe_value": (
        "ModelConfig.budgets AdapterConfig.recipe AdapterConfig.fallback "
        "RecipeConfig.by_adapter RecipeConfig.shared"
    ),
    "goft_cli.report.describe_recipe": "ModelConfig.recipe RecipeConfig.source RecipeConfig.model",
    "goft_cli.adapters.peft_config": "AdapterConfig.peft_type",
    "goft_cli.report.announce": "AdapterConfig.name",
    "goft_cli.tasks.build_task": "TaskConfig.family",
    "goft_cli.config.task.TaskConfig": "TaskConfig.train_split",
    "goft_cli.tasks.base.Task.size_deviations": "TaskConfig.benchmark_sizes",
    "goft_cli.tasks.columns": (
        "TextClassificationConfig.labels TextClassificationConfig.label_range "
        "TextClassificationConfig.label_column TextClassificationConfig.column_aliases"
    ),
    "goft_cli.tasks.classification": (
        "TextClassificationConfig.raw_columns TextClassificationConfig.text_columns "
        "TextClassificationConfig.classifier_dropout TextClassificationConfig.max_length"
    ),
    "goft_cli.tasks.image_classification.task": "ImageClassificationConfig.classes",
    "goft_cli.tasks.instruction.task": (
        "InstructionConfig.column_aliases InstructionConfig.holdout InstructionConfig.max_length"
    ),
    "goft_cli.tasks.question_answering.windows": (
        "QuestionAnsweringConfig.max_length QuestionAnsweringConfig.doc_stride"
    ),
    "goft_cli.tasks.sources": "DatasetConfig.id DatasetConfig.config DatasetConfig.revision",
    "goft_cli.tasks.mmlu.benchmark.MMLU._prompts": "MMLUConfig.header MMLUConfig.shuffle_seed",
    "goft_cli.benchmarks.harness.build_harness": "MMLUConfig.lm_eval_task",
    "goft_cli.tasks.vicuna.benchmark.Vicuna.load": "VicunaConfig.answers",
    "goft_cli.tasks.vicuna.benchmark.Vicuna._rehearse": "JudgeConfig.model JudgeConfig.prompts",
    "goft_cli.tasks.vicuna.rubric": "JudgeConfig.references",
    "goft_cli.tasks.vicuna.answers.make_prompts": "VicunaConfig.seed",
    "goft_cli.training.tracking.tracking": "TrackerConfig.project",
    "goft_cli.launching.launch": "LauncherConfig.num_processes",
    "goft_cli.comparison.compare": "CompareConfig.adapters",
    "goft_cli.config.comparison.CompareConfig": "CompareConfig.seeds CompareConfig.reference",
    "goft_cli.commands.eval.with_options": "EvalConfig.shots EvalConfig.data_dir",
    "goft_cli.commands.eval.rescore": "EvalConfig.output EvalConfig.base_model",
    "goft_cli.commands.merge.merge": (
        "TrainedConfig.adapter TrainedConfig.base_model ExportConfig.data_dir "
        "MergeConfig.output_dir"
    ),
    "goft_cli.commands.predict.predict": "PredictConfig.output",
    "goft_cli.sharing.publishing.find_repo": "PushConfig.repo",
    "goft_cli.commands.fetch": "FetchConfig.output_dir",
    "goft_cli.rechecking.recheck.recheck": "VerifyConfig.base_model VerifyConfig.data_dir",
    "goft_cli.commands.report": "ReportConfig.runs ReportConfig.base_model",
}
"""Who reads a key before the work begins."""

WHOLE = {
    "goft_cli.config.adapter.AdapterConfig.peft_options": (
        "Goft Lora AdaLora Oft Boft Hra Layer".replace(" ", "AdapterConfig ") + "AdapterConfig"
        " BitFitConfig"
    ),
    "goft_cli.training.trainer.training_arguments": "TrainerConfig",
}
"""Who hands every key of a section on before the work begins, to a library that checks them."""

FREE = {
    "MMLUConfig.categories": "a category without questions is left out of the averages",
    "ModelConfig.target_modules": "what adapters take for want of their own",
    "ReportConfig.output_dir": "the page takes seconds, and is made again from the same runs",
    "SplitsConfig.train_split": "a value of VTAB's YAML, which becomes task.train_split",
    "SplitsConfig.eval_splits": "a value of VTAB's YAML, which becomes task.eval_splits",
}
"""Where there is nothing to check."""


def is_closed(hint: object) -> bool:
    """Tell a type whose values are all allowed and all known: switches and choices."""
    kinds = [kind for kind in get_args(hint) if kind is not type(None)] or [hint]
    return all(isinstance(kind, type) and issubclass(kind, bool | Enum) for kind in kinds)


def keys_of(kind: type) -> Iterator[str]:
    """Yield each key that has more values than are right, by the class that states it."""
    for entry in fields(kind):
        hint = get_type_hints(kind)[entry.name]
        sections = [one for one in (hint, *get_args(hint)) if is_dataclass(one)]
        for section in sections:
            yield from keys_of(section)  # pyright: ignore[reportArgumentType] - a class
        home = [c for c in kind.__mro__ if entry.name in inspect.get_annotations(c)]
        if not sections and not is_closed(hint):
            yield f"{home[-1].__name__}.{entry.name}"


KEYS = {key for kind in SCHEMAS.values() for key in keys_of(kind)}


def handed_on(key: str) -> bool:
    return any(key.partition(".")[0] in sections.split() for sections in WHOLE.values())


def test_each_key_is_in_a_table() -> None:
    tables = {*REFUSED, *VERBS, *" ".join(EARLY.values()).split(), *FREE}
    assert {key for key in KEYS - tables if not handed_on(key)} == set()
    # a switch may be refused too: for some tasks its other value is wrong
    assert tables - KEYS == {"TaskConfig.greater_is_better"}


def found(path: str) -> Any:  # noqa: ANN401 - a module, a class or a function
    """Import what a dotted path names."""
    try:
        return import_module(path)
    except ModuleNotFoundError:
        above, _, name = path.rpartition(".")
        return getattr(found(above), name)


@pytest.mark.parametrize("reader", EARLY)
def test_the_reader_of_a_key_reads_it(reader: str) -> None:
    source = inspect.getsource(found(reader))
    for key in EARLY[reader].split():
        name = key.rpartition(".")[2]
        assert f".{name}" in source or f'"{name}"' in source, key


@pytest.mark.parametrize("reader", WHOLE)
def test_whole_sections_are_handed_on(reader: str) -> None:
    assert "fields(" in inspect.getsource(found(reader))


@pytest.mark.parametrize(
    ("key", "words"), [(key, words) for key, cases in REFUSED.items() for words in cases]
)
def test_a_wrong_value_is_refused_before_the_work(key: str, words: list[str]) -> None:
    with pytest.raises(GoftError, match=key.rpartition(".")[2]):
        check_inputs(composed(words))


@pytest.mark.parametrize("key", VERBS)
def test_a_wrong_value_of_another_verb_is_refused_at_once(key: str) -> None:
    with pytest.raises(GoftError, match=key.rpartition(".")[2]):
        VERBS[key]()
