"""Every YAML under configs/ composes into its dataclass, and GLUE recipes match the paper."""

from __future__ import annotations

import re
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from omegaconf import DictConfig, OmegaConf
from peft import PEFT_TYPE_TO_CONFIG_MAPPING, PeftType
from transformers import TrainingArguments

import goft_cli
from goft_cli.compose.composition import (
    freeze,
    recipe_value,
)
from goft_cli.compose.flags import as_overrides
from goft_cli.compose.suggest import CommandLine
from goft_cli.config import (
    SCHEMAS,
    TRAIN_SAMPLE,
    AdapterConfig,
    GoftAdapterConfig,
    ModelConfig,
    PeftAdapterConfig,
    TrainConfig,
    TrainerConfig,
)
from goft_cli.config.task import UNTUNED
from goft_cli.system.errors import GoftError
from tests.support.recipe_cells import (
    CHOICES,
    CONFIGS,
    DIAGONAL,
    MODELS,
    alone,
    cell,
    inherited,
    model_cell,
    stated,
)
from tests.support.small_runs import composed

# Table 5 of arXiv:2404.04316v2, DeBERTaV3-base: epochs, GOFT's learning rate, qGOFT's learning
# rate, qGOFT's regularisation strength. The batch size is 32 everywhere.
TABLE5 = {
    "glue/mnli": (6, 5.0e-4, 6.0e-4, 0.001),
    "glue/sst2": (8, 8.0e-4, 8.0e-4, 0.01),
    "glue/cola": (20, 1.6e-3, 8.0e-4, 0.05),
    "glue/qqp": (5, 5.0e-4, 1.5e-3, 0.001),
    "glue/qnli": (5, 1.2e-3, 1.2e-3, 0.001),
    "glue/rte": (30, 2.0e-3, 2.0e-3, 0.05),
    "glue/mrpc": (30, 8.0e-4, 1.2e-3, 0.01),
    "glue/stsb": (20, 7.0e-4, 5.0e-4, 0.001),
}


def goft_of(cfg: TrainConfig) -> GoftAdapterConfig:
    """Return the adapter's section after checking that the adapter is GOFT."""
    assert isinstance(cfg.adapter, GoftAdapterConfig)
    return cfg.adapter


@pytest.mark.parametrize(("task", "adapter"), DIAGONAL)
def test_each_task_composes_with_each_adapter(task: str, adapter: str) -> None:
    cfg = cell(task, adapter)
    assert (cfg.task.name, cfg.adapter.name) == (task, adapter)
    assert cfg.output_dir == f"outputs/{task}/{cfg.model.name}/{adapter}/test"
    assert cfg.trainer.learning_rate > 0
    assert cfg.task.headline_split in (cfg.task.eval_splits or [TRAIN_SAMPLE])
    assert cfg.task.recipe.by_adapter.keys() <= set(CHOICES["adapter"])
    assert cfg.task.recipe.model in CHOICES["model"] or cfg.task.recipe.source == UNTUNED


def test_each_model_is_built_and_named_by_its_file() -> None:
    for model in MODELS:
        found = alone(f"model/{model}")
        assert isinstance(found, ModelConfig)
        assert found.name == model
        assert found.recipe in MODELS


def test_an_adapter_takes_the_models_targets() -> None:
    cfg = model_cell("vit-b16-qv")
    assert goft_of(cfg).target_modules == cfg.model.target_modules


@pytest.mark.parametrize("tracker", CHOICES["tracker"])
def test_each_tracker_composes(tracker: str) -> None:
    assert composed([f"tracker={tracker}"]).tracker.name.name == tracker


@pytest.mark.parametrize("benchmark", CHOICES["benchmark"])
def test_each_benchmark_is_a_task_or_none(benchmark: str) -> None:
    found = composed([f"benchmark={benchmark}"]).benchmark
    if found is None:
        assert benchmark == "none"
    else:
        assert found is not None
        assert found == OmegaConf.to_object(inherited(f"/task/{found.name}"))


@pytest.mark.parametrize("group", ["model", "task", "adapter", "tracker"])
def test_a_file_is_called_what_it_names(group: str) -> None:
    for choice in CHOICES[group]:
        content = yaml.safe_load((CONFIGS / group / f"{choice}.yaml").read_text(encoding="utf-8"))
        assert content["name"] in {choice, "${own:name}", "${own_model:name}"}


def test_all_of_glue_is_there() -> None:
    assert {task for task in CHOICES["task"] if task.startswith("glue/")} == TABLE5.keys()


@pytest.mark.parametrize("task", TABLE5)
@pytest.mark.parametrize("adapter", ["goft", "qgoft"])
def test_the_composed_recipe_is_the_papers(task: str, adapter: str) -> None:
    epochs, goft_rate, qgoft_rate, penalty = TABLE5[task]
    cfg = cell(task, adapter)
    assert cfg.trainer.per_device_train_batch_size == 32
    assert cfg.trainer.gradient_accumulation_steps == 1
    assert cfg.trainer.num_train_epochs == epochs
    assert cfg.trainer.learning_rate == (goft_rate if adapter == "goft" else qgoft_rate)
    assert goft_of(cfg).penalty_weight == (penalty if adapter == "qgoft" else 0)


def test_norm_adjustment_takes_the_row_of_goft() -> None:
    assert cell("glue/rte", "goft-scaled").trainer == cell("glue/rte", "goft").trainer


def test_an_override_wins_over_the_recipe() -> None:
    cfg = composed(
        [
            "task=glue/rte",
            "adapter=qgoft",
            "trainer.learning_rate=0.5",
            "trainer.num_train_epochs=1.5",
            "adapter.penalty_weight=0.25",
        ]
    )
    assert (cfg.trainer.learning_rate, cfg.trainer.num_train_epochs) == (0.5, 1.5)
    assert goft_of(cfg).penalty_weight == 0.25
    assert cfg.trainer.per_device_train_batch_size == 32


def root(
    row: dict[str, Any], shared: dict[str, Any], budget: dict[str, Any], fallback: dict[str, Any]
) -> DictConfig:
    """Return a configuration with only the keys that the recipe lookup reads."""
    return OmegaConf.create(
        {
            "task": {"name": "t", "recipe": {"shared": shared, "by_adapter": {"r": row}}},
            "model": {"budgets": {"r": budget}},
            "adapter": {"name": "a", "recipe": "r", "fallback": fallback},
        }
    )


@pytest.mark.parametrize(
    ("sources", "found"),
    [
        (({"x": 1}, {"x": 2}, {"x": 3}, {"x": 4}), 1),
        (({}, {"x": 2}, {"x": 3}, {"x": 4}), 2),
        (({"y": 1}, {"y": 2}, {"x": 3}, {"x": 4}), 3),
        (({"y": 1}, {"y": 2}, {"y": 3}, {"x": 4}), 4),
        (({"x": 0}, {"x": 2}, {}, {}), 0),
    ],
)
def test_the_most_particular_recipe_wins(sources: tuple[Any, Any, Any, Any], found: int) -> None:
    assert recipe_value("x", _root_=root(*sources)) == found


def test_a_recipe_without_the_value_says_so() -> None:
    with pytest.raises(GoftError, match=r"task t: .* x .*adapter a"):
        recipe_value("x", _root_=root({}, {}, {}, {}))


def test_what_no_recipe_gives_is_the_trainers_default() -> None:
    assert recipe_value("max_grad_norm", _root_=root({}, {}, {}, {})) == TrainerConfig.max_grad_norm
    assert recipe_value("max_grad_norm", _root_=root({}, {"max_grad_norm": 0.0}, {}, {})) == 0.0
    with pytest.raises(GoftError, match="gives no learning_rate"):
        recipe_value("learning_rate", _root_=root({}, {}, {}, {}))


def test_every_value_of_a_recipe_is_read_by_somebody() -> None:
    texts = [path.read_text(encoding="utf-8") for path in CONFIGS.rglob("*.yaml")]
    read = {key for text in texts for key in re.findall(r"\$\{recipe:(\w+)\}", text)}
    for task in CHOICES["task"]:
        recipe = inherited(f"/task/{task}").recipe
        given = {key for row in recipe.by_adapter.values() for key in row}
        assert given | recipe.shared.keys() <= read, task


def test_trainer_keys_are_those_of_transformers() -> None:
    known = {entry.name for entry in fields(TrainingArguments)}
    ours = {"early_stopping_patience", "early_stopping_threshold", "extra"}
    ours |= {"max_tokens_per_batch"}
    assert {entry.name for entry in fields(TrainerConfig)} - ours <= known


@pytest.mark.parametrize("adapter", CHOICES["adapter"])
def test_adapter_keys_are_those_of_peft(adapter: str) -> None:
    assert goft_cli.GoftConfig is not None  # registers GOFT with PEFT
    cfg = cell("demo/acceptability", adapter).adapter
    peft_class = PEFT_TYPE_TO_CONFIG_MAPPING[PeftType[cfg.peft_type]]
    own = {entry.name for entry in fields(cfg)} - {entry.name for entry in fields(AdapterConfig)}
    if isinstance(cfg, PeftAdapterConfig):  # its options are those of the PEFT method that it names
        own = cfg.peft_options(1).keys()
    assert own <= {entry.name for entry in fields(peft_class)}


# Keys stated even if they equal the default: the file's name, and the published length.
STATED_ANYWAY = {"name", "max_length"}


def test_no_yaml_repeats_a_default() -> None:
    for group in ("model", "task", "adapter"):
        for choice in CHOICES[group]:
            content, default = stated(group, choice)
            plain = yaml.safe_load(OmegaConf.to_yaml(inherited(default)))
            for key, value in yaml.safe_load(OmegaConf.to_yaml(content)).items():
                if key not in STATED_ANYWAY:
                    known = plain[key]
                    assert value != known, f"{group}/{choice}: {key} is the default"


def test_a_range_is_checked_wherever_the_value_comes_from() -> None:
    cfg = OmegaConf.structured(cell("demo/acceptability", "goft"))
    cfg.trainer.logging_steps = 0
    with pytest.raises(GoftError, match=r"trainer.logging_steps=0"):
        freeze(cfg, TrainConfig)


@pytest.mark.parametrize(
    ("verb", "words"),
    [
        ("train", ["output_dir=~/x"]),
        ("schema", ["output_dir=~/x"]),
        ("merge", ["adapter=a", "output_dir=~/x"]),
        ("merge", ["adapter=a", "undo=true", "merged_dir=~/x"]),
        ("predict", ["adapter=a", "input=b", "output=~/x"]),
        ("predict", ["adapter=a", "output=b", "input=~/x"]),
    ],
)
def test_a_place_may_be_in_the_home_folder(verb: str, words: list[str]) -> None:
    typed = as_overrides(verb, words)
    cfg = freeze(CommandLine(verb, tuple(typed)).compose(typed), SCHEMAS[verb])
    assert getattr(cfg, words[-1].partition("=")[0]) == str(Path.home() / "x")


def test_freezing_keeps_what_was_composed() -> None:
    cfg = cell("glue/stsb", "qgoft")
    assert freeze(OmegaConf.structured(cfg), TrainConfig) == cfg
    assert replace(cfg, seed=1) != cfg


def test_no_composition_changes_what_the_next_one_starts_from() -> None:
    before = composed(["adapter=lora", "seed=5"])
    composed(["adapter=lora", "adapter.r=3", "trainer.max_steps=9", "+task.column_aliases.a=b"])
    assert composed(["adapter=lora", "seed=5"]) == before
