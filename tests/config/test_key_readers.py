"""Every key of the schemas is read before the work begins, or checked when it is composed.

A new key fails here until one of the tables lists it.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from enum import Enum
from importlib import import_module
from typing import Any, get_args, get_type_hints

from goft_cli.config import SCHEMAS
from tests.config.test_schema_keys import REFUSED, VERBS

EARLY: dict[str, str] = {
    "goft_cli.run.preflight.check_inputs": "TrainConfig.output_dir ModelConfig.path",
    "goft_cli.run.second_stage.first_stage": "TrainConfig.init_adapter",
    "goft_cli.config.model.check_tokenizer": "ModelConfig.requires",
    "goft_cli.run.preflight.check_data_dir": "TaskConfig.data_dir",
    "goft_cli.run.preflight.check_images": "ImageClassificationConfig.generator",
    "goft_cli.models.backbone.check_architecture": "ModelConfig.architecture",
    "goft_cli.models.backbone": "ModelConfig.head_modules ModelConfig.attn_implementation",
    "goft_cli.config.model.ModelConfig": "ModelConfig.revision",
    "goft_cli.compose.composition.recipe_value": (
        "ModelConfig.budgets AdapterConfig.recipe AdapterConfig.fallback "
        "RecipeConfig.by_adapter RecipeConfig.shared"
    ),
    "goft_cli.run.summary.describe_recipe": (
        "ModelConfig.recipe RecipeConfig.source RecipeConfig.model"
    ),
    "goft_cli.models.adapters.peft_config": "AdapterConfig.peft_type",
    "goft_cli.run.summary.announce": "AdapterConfig.name",
    "goft_cli.tasks.families.build_task": "TaskConfig.family",
    "goft_cli.config.task.TaskConfig": "TaskConfig.train_split",
    "goft_cli.tasks.base.Task.size_deviations": "TaskConfig.benchmark_sizes",
    "goft_cli.data.table": (
        "TextClassificationConfig.labels TextClassificationConfig.label_range "
        "TextClassificationConfig.label_column TextClassificationConfig.column_aliases"
    ),
    "goft_cli.tasks.classification": (
        "TextClassificationConfig.raw_columns TextClassificationConfig.text_columns "
        "TextClassificationConfig.classifier_dropout TextClassificationConfig.max_length"
    ),
    "goft_cli.tasks.token_classification": (
        "TokenClassificationConfig.text_columns TokenClassificationConfig.label_column "
        "TokenClassificationConfig.column_aliases TokenClassificationConfig.max_length"
    ),
    "goft_cli.tasks.image_classification": (
        "ImageClassificationConfig.classes ImageClassificationConfig.labels"
    ),
    "goft_cli.config.verbs": "InitConfig.name",
    "goft_cli.verbs.schema.schema": "SchemaConfig.output_dir",
    "goft_cli.tasks.instruction": (
        "InstructionConfig.column_aliases InstructionConfig.holdout InstructionConfig.max_length"
    ),
    "goft_cli.tasks.chat": "ChatConfig.template",
    "goft_cli.tasks.question_answering.windows": (
        "QuestionAnsweringConfig.max_length QuestionAnsweringConfig.doc_stride"
    ),
    "goft_cli.data.sources": "DatasetConfig.id DatasetConfig.config DatasetConfig.revision",
    "goft_cli.data.own": "OwnDataConfig.validation OwnDataConfig.group OwnDataConfig.seed",
    "goft_cli.tasks.mmlu.MMLU._prompts": "MMLUConfig.header MMLUConfig.shuffle_seed",
    "goft_cli.tasks.benchmark.build_harness": "MMLUConfig.lm_eval_task",
    "goft_cli.tasks.lm_eval_tasks.LmEval.load": "LmEvalConfig.tasks",
    "goft_cli.tasks.lm_eval_tasks.index": "LmEvalConfig.include_path",
    "goft_cli.tasks.lm_eval_tasks.LmEval.evaluate": "LmEvalConfig.num_fewshot LmEvalConfig.limit",
    "goft_cli.tasks.vicuna.Vicuna.load": "VicunaConfig.answers",
    "goft_cli.tasks.vicuna.Vicuna._rehearse": "JudgeConfig.model JudgeConfig.prompts",
    "goft_cli.tasks.vicuna.rubric": "JudgeConfig.references",
    "goft_cli.training.trackers.tracking": "TrackerConfig.project",
    "goft_cli.tasks.generation.seed_of": "Decoding.seed",
    "goft_cli.run.launch": "LauncherConfig.num_processes",
    "goft_cli.verbs.compare.comparison": "CompareConfig.adapters",
    "goft_cli.config.studies.CompareConfig": (
        "CompareConfig.seeds CompareConfig.reference CompareConfig.tune CompareConfig.retain"
    ),
    "goft_cli.verbs.eval.with_options": "EvalConfig.shots EvalConfig.data_dir",
    "goft_cli.verbs.eval.rescore": "EvalConfig.output EvalConfig.base_model",
    "goft_cli.verbs.eval.wanted_of": "EvalConfig.retain",
    "goft_cli.verbs.plan.plan": "PlanConfig.retain",
    "goft_cli.verbs.merge.merge": (
        "TrainedConfig.adapter TrainedConfig.base_model ExportConfig.data_dir "
        "MergeConfig.output_dir"
    ),
    "goft_cli.verbs.merge.take_out": "MergeConfig.merged_dir",
    "goft_cli.verbs.predict.predict": "PredictConfig.output",
    "goft_cli.verbs.push.find_repo": "PushConfig.repo",
    "goft_cli.verbs.fetch": "FetchConfig.output_dir",
    "goft_cli.verbs.verify.recheck.recheck": "VerifyConfig.base_model VerifyConfig.data_dir",
    "goft_cli.verbs.rewind.rewind": "RewindConfig.adapter RewindConfig.output_dir",
    "goft_cli.verbs.rewind.rewind_content": "RewindConfig.base_model RewindConfig.data_dir",
    "goft_cli.verbs.report": "ReportConfig.runs ReportConfig.base_model ReportConfig.retain",
}
"""The code that reads each key before the work begins."""

WHOLE = {
    "goft_cli.config.adapter.AdapterConfig.peft_options": (
        "Goft Lora AdaLora Oft Boft Hra Layer".replace(" ", "AdapterConfig ") + "AdapterConfig"
        " BitFitConfig PeftAdapterConfig"
    ),
    "goft_cli.training.trainer.training_arguments": "TrainerConfig",
}
"""The code that passes all keys of a section, before the work, to a library that checks them."""

FREE = {
    "MMLUConfig.categories": "a category without questions is left out of the averages",
    "ModelConfig.target_modules": "what adapters take for want of their own",
    "ReportConfig.output_dir": "the page takes seconds, and is made again from the same runs",
    "SplitsConfig.train_split": "a value of VTAB's YAML, which becomes task.train_split",
    "SplitsConfig.eval_splits": "a value of VTAB's YAML, which becomes task.eval_splits",
}
"""Keys that need no check, with the reason."""


def is_closed(hint: object) -> bool:
    """Return whether a type has only known values, all of them valid: bool or Enum."""
    kinds = [kind for kind in get_args(hint) if kind is not type(None)] or [hint]
    return all(isinstance(kind, type) and issubclass(kind, bool | Enum) for kind in kinds)


def keys_of(kind: type) -> Iterator[str]:
    """Yield each key, as CLASS.KEY, whose type allows values that are invalid."""
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
    # these bool and Enum keys are in a table too: some values are invalid for some tasks
    closed = {"TaskConfig.greater_is_better", "TrainerConfig.train_sampling_strategy"}
    closed |= {"TrainerConfig.lr_scheduler_type", "TrainerConfig.optim"}
    assert tables - KEYS == closed


def found(path: str) -> Any:  # noqa: ANN401 - a module, a class or a function
    """Import the module, class or function that a dotted path names."""
    try:
        return import_module(path)
    except ModuleNotFoundError:
        above, _, name = path.rpartition(".")
        return getattr(found(above), name)


def test_the_reader_of_a_key_reads_it() -> None:
    for reader, keys in EARLY.items():
        source = inspect.getsource(found(reader))
        for name in (key.rpartition(".")[2] for key in keys.split()):
            assert f".{name}" in source or f'"{name}"' in source, (reader, name)


def test_whole_sections_are_handed_on() -> None:
    for reader in WHOLE:
        assert "fields(" in inspect.getsource(found(reader)), reader
