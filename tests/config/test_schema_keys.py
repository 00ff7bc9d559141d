"""Invalid values are refused before the work starts, even if they are used only at its end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from goft_cli.config import (
    EvalConfig,
    MergeConfig,
    PlanConfig,
    PredictConfig,
    RewindConfig,
    VerifyConfig,
    VicunaConfig,
)
from goft_cli.run.preflight import check_inputs
from goft_cli.system.errors import GoftError
from tests.support.recipe_cells import data_of
from tests.support.small_runs import composed

TASKS = {
    "text": "task=demo/acceptability",
    "answers": "task=demo/qa",
    "images": "task=demo/digits",
    "instructions": "task=demo/instructions",
}
TEXT, ANSWERS, IMAGES, INSTRUCTIONS = TASKS.values()
CHOICES, VICUNA, JUDGE = "benchmark=demo-choices", "benchmark=vicuna", "benchmark.judge"
LM_EVAL = "benchmark=lm_eval"

UNJUDGED = [INSTRUCTIONS, "task.eval_splits=[]", "task.headline_split=train_sample"]
NUMBERS = ["task.labels=[]", "task.metrics=[pearson]", "task.headline=pearson"]

TOKENS = ["task=own/tokens", *data_of("own/tokens")]
OWN = ["task=own/classification", *data_of("own/classification")]
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
    "OwnDataConfig.split": [[*OWN, "task.own.split=1.5"], [*OWN, "task.own.split=0"]],
    "TextClassificationConfig.metrics": [
        [TEXT, "task.metrics=[nonesuch]"],
        ["task=glue/mnli", "task.metrics=[accuracy,f1]"],
        ["task=glue/stsb", "task.metrics=[accuracy,pearson]", "task.headline=pearson"],
    ],
    "ImageClassificationConfig.metrics": [
        [IMAGES, "task.metrics=[accuracy,f1]"],
        [IMAGES, "task.metrics=[nonesuch]"],
    ],
    "TokenClassificationConfig.metrics": [
        [*TOKENS, "task.metrics=[f1,micro_kappa]"],
        [*TOKENS, "task.labels=[NOUN,VERB]", "task.metrics=[f1]"],
    ],
    "TokenClassificationConfig.labels": [[*TOKENS, "task.labels=[O]"], [*TOKENS, "task.labels=[]"]],
    "QuestionAnsweringConfig.n_best_size": [[ANSWERS, "task.n_best_size=0"]],
    "QuestionAnsweringConfig.max_answer_length": [[ANSWERS, "task.max_answer_length=0"]],
    "TrainerConfig.per_device_eval_batch_size": [["trainer.per_device_eval_batch_size=0"]],
    "TrainerConfig.save_total_limit": [["trainer.save_total_limit=0"]],
    "TrainerConfig.eval_steps": [["trainer.eval_strategy=steps"]],
    "TaskConfig.max_train_samples": [
        [TEXT, "task.max_train_samples=0"],
        [INSTRUCTIONS, CHOICES, "benchmark.max_train_samples=5"],
    ],
    "TaskConfig.max_eval_samples": [
        [TEXT, "task.max_eval_samples=-1"],
        [INSTRUCTIONS, CHOICES, "benchmark.max_eval_samples=5"],
    ],
    "TrainerConfig.early_stopping_patience": [
        ["trainer.early_stopping_patience=0"],
        [*UNJUDGED, "trainer.early_stopping_patience=2"],
    ],
    "TrainerConfig.early_stopping_threshold": [["trainer.early_stopping_threshold=-1"]],
    "TrainerConfig.lr_scheduler_kwargs": [
        ["trainer.lr_scheduler_type=constant", "trainer.lr_scheduler_kwargs.a=1"],
    ],
    "TrainerConfig.label_smoothing_factor": [
        ["trainer.label_smoothing_factor=1"],
        [ANSWERS, "trainer.label_smoothing_factor=0.1"],
        [TEXT, *NUMBERS, "trainer.label_smoothing_factor=0.1"],
    ],
    "TrainerConfig.lr_scheduler_type": [
        [*UNJUDGED, "trainer.lr_scheduler_type=reduce_lr_on_plateau"],
    ],
    "TrainerConfig.optim": [["trainer.optim=adamw_anyprecision"]],
    "TrainerConfig.max_tokens_per_batch": [
        ["trainer.max_tokens_per_batch=0"],
        [IMAGES, "trainer.max_tokens_per_batch=100"],
    ],
    "TrainerConfig.extra": [
        ["trainer.extra.no_such_field=1"],
        ["trainer.extra.seed=1"],
        ["trainer.extra.learning_rate=0.1"],
        ["trainer.extra.hub_token=abc"],
        ["trainer.extra.neftune_noise_alpha=abc"],
        ["trainer.extra.group_by_length=true"],
    ],
    "TrainerConfig.train_sampling_strategy": [
        [IMAGES, "trainer.train_sampling_strategy=group_by_length"],
    ],
    "Decoding.temperature": [[INSTRUCTIONS, VICUNA, "benchmark.temperature=-1"]],
    "Decoding.top_p": [
        [INSTRUCTIONS, VICUNA, "benchmark.top_p=0"],
        [INSTRUCTIONS, VICUNA, "benchmark.top_p=1.1"],
    ],
    "Decoding.stop": [[INSTRUCTIONS, VICUNA, "benchmark.stop=['']"]],
    "VicunaConfig.temperatures": [[INSTRUCTIONS, VICUNA, "benchmark.temperatures={math: -1}"]],
    "Decoding.max_new_tokens": [[INSTRUCTIONS, VICUNA, "benchmark.max_new_tokens=0"]],
    "JudgeConfig.concurrency": [[INSTRUCTIONS, VICUNA, f"{JUDGE}.concurrency=0"]],
    "JudgeConfig.retries": [[INSTRUCTIONS, VICUNA, f"{JUDGE}.retries=-1"]],
    "JudgeConfig.backoff_seconds": [[INSTRUCTIONS, VICUNA, f"{JUDGE}.backoff_seconds=-1"]],
    "JudgeConfig.timeout_seconds": [[INSTRUCTIONS, VICUNA, f"{JUDGE}.timeout_seconds=0"]],
    "JudgeConfig.base_url": [[INSTRUCTIONS, VICUNA, f"{JUDGE}.base_url=nowhere"]],
    "JudgeConfig.api_key_variable": [[INSTRUCTIONS, VICUNA, f"{JUDGE}.api_key_variable=a-b"]],
    "MMLUConfig.shots": [[INSTRUCTIONS, CHOICES, "benchmark.shots=[]"]],
    "LmEvalConfig.tasks": [
        [INSTRUCTIONS, LM_EVAL, "benchmark.tasks=[a,a]"],
        [INSTRUCTIONS, LM_EVAL, "benchmark.tasks=[]"],
    ],
    "LmEvalConfig.num_fewshot": [[INSTRUCTIONS, LM_EVAL, "benchmark.num_fewshot=-1"]],
    "LmEvalConfig.limit": [[INSTRUCTIONS, LM_EVAL, "benchmark.limit=0"]],
    "AdaLoraAdapterConfig.tinit": [["adapter=adalora", "adapter.tinit=-1"]],
    "AdaLoraAdapterConfig.tfinal": [["adapter=adalora", "adapter.tfinal=0"]],
    "AdaLoraAdapterConfig.deltaT": [["adapter=adalora", "adapter.deltaT=0"]],
    "AdaLoraAdapterConfig.target_r": [["adapter=adalora", "adapter.target_r=0"]],
    "AdaLoraAdapterConfig.beta1": [["adapter=adalora", "adapter.beta1=1"]],
    "AdaLoraAdapterConfig.beta2": [["adapter=adalora", "adapter.beta2=0"]],
    "PeftAdapterConfig.type": [
        ["adapter=peft", "adapter.type=RODA"],
        ["adapter=peft", "adapter.type=PREFIX_TUNING"],
    ],
    "PeftAdapterConfig.config": [
        ["adapter=road", "adapter.config.varient=road_2"],
        ["adapter=road", "adapter.config.group_size=abc"],
        ["adapter=road", "adapter.config.target_modules=[query]"],
    ],
    "NoLayersConfig.target_modules": [["adapter=linear", "adapter.target_modules=query"]],
    "FullConfig.modules_to_save": [["adapter=full", "adapter.modules_to_save=classifier"]],
    "TrainConfig.seed": [["seed=-1"]],
    "AdapterConfig.strength": [["adapter.strength=1.6"], ["adapter=lora", "adapter.strength=-0.1"]],
    "ModelConfig.name": [["model.name=../x"]],
}
"""Words of `goft train` that are refused before anything is loaded."""

VERBS: dict[str, Callable[[], object]] = {
    "EvalConfig.batch_size": lambda: EvalConfig(adapter="x", batch_size=0),
    "EvalConfig.adapter": EvalConfig,
    "EvalConfig.strength": lambda: EvalConfig(adapter="x", strength=1.6),
    "TrainedConfig.strength": lambda: MergeConfig(adapter="x", strength=float("nan")),
    "PredictConfig.batch_size": lambda: PredictConfig(adapter="x", text="x", batch_size=0),
    "Decoding.top_p": lambda: PredictConfig(adapter="x", text="x", top_p=0.9),
    "PredictConfig.adapters": lambda: PredictConfig(adapters={"a": "x"}, input="x"),
    "PredictConfig.adapter_column": lambda: PredictConfig(
        adapter="x", adapter_column="x", input="x"
    ),
    "MergeConfig.merged_dir": lambda: MergeConfig(adapter="x", merged_dir="x"),
    "PredictConfig.input": lambda: PredictConfig(adapter="x"),
    "PredictConfig.text": lambda: PredictConfig(adapter="x", input="x", text="x"),
    "ExportConfig.batch_size": lambda: MergeConfig(adapter="x", batch_size=0),
    "ExportConfig.samples": lambda: MergeConfig(adapter="x", samples=-1),
    "ExportConfig.tolerance": lambda: MergeConfig(adapter="x", tolerance=-1),
    "ExportConfig.as_lora": lambda: MergeConfig(adapter="x", as_lora=1.5),
    "TrainConfig.run_name": lambda: replace(composed([]), run_name="../x"),
    "PlanConfig.fits": lambda: PlanConfig(**vars(composed([])), fits="24"),
    "VicunaConfig.against": lambda: VicunaConfig(against="x"),
    "RewindConfig.at": lambda: RewindConfig(adapter="x", at=[0, 2]),
    "RewindConfig.retain": lambda: RewindConfig(adapter="x", retain="kca"),
    "RewindConfig.batch_size": lambda: RewindConfig(adapter="x", batch_size=0),
    "VerifyConfig.batch_size": lambda: VerifyConfig(adapter="x", batch_size=0),
    "VerifyConfig.max_samples": lambda: VerifyConfig(adapter="x", max_samples=0),
    "VerifyConfig.adapter": lambda: VerifyConfig(adapter="x", runs=["y"]),
    "VerifyConfig.runs": lambda: VerifyConfig(runs=[]),
}
"""Configurations that other verbs refuse as soon as they are composed."""


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
