"""The schema of every configuration: the one home of types, defaults and ranges.

The YAML files under `configs/` state differences from these dataclasses. Hydra composes, OmegaConf
checks the types, `__post_init__` checks the ranges; past `to_object` only plain dataclasses travel.
Nothing here imports torch, so that a mistyped word is answered at once.
"""

from __future__ import annotations

from goft_cli.config.adapter import (
    AdapterConfig,
    GoftAdapterConfig,
    LinearProbeConfig,
    LoraAdapterConfig,
)
from goft_cli.config.choices import (
    Angle,
    Dtype,
    EvalStrategy,
    GlobalBatch,
    Method,
    Optimizer,
    Sampling,
    Scheduler,
    TrackerName,
    WandbMode,
)
from goft_cli.config.instruction import HELD_OUT, InstructionConfig
from goft_cli.config.model import ModelConfig
from goft_cli.config.task import (
    TRAIN_SAMPLE,
    DatasetConfig,
    RecipeConfig,
    TaskConfig,
    TextClassificationConfig,
)
from goft_cli.config.trainer import TrackerConfig, TrainerConfig
from goft_cli.config.verbs import EvalConfig, MergeConfig, PredictConfig, TrainConfig, TrainedConfig

__all__ = [
    "HELD_OUT",
    "SCHEMAS",
    "TRAIN_SAMPLE",
    "AdapterConfig",
    "Angle",
    "DatasetConfig",
    "Dtype",
    "EvalConfig",
    "EvalStrategy",
    "GlobalBatch",
    "GoftAdapterConfig",
    "InstructionConfig",
    "LinearProbeConfig",
    "LoraAdapterConfig",
    "MergeConfig",
    "Method",
    "ModelConfig",
    "Optimizer",
    "PredictConfig",
    "RecipeConfig",
    "Sampling",
    "Scheduler",
    "TaskConfig",
    "TextClassificationConfig",
    "TrackerConfig",
    "TrackerName",
    "TrainConfig",
    "TrainedConfig",
    "TrainerConfig",
    "WandbMode",
]

SCHEMAS: dict[str, type] = {
    "train": TrainConfig,
    "eval": EvalConfig,
    "predict": PredictConfig,
    "merge": MergeConfig,
    "model": ModelConfig,
    "task/text_classification": TextClassificationConfig,
    "task/instruction": InstructionConfig,
    "adapter/goft": GoftAdapterConfig,
    "adapter/lora": LoraAdapterConfig,
    "adapter/linear": LinearProbeConfig,
    "trainer": TrainerConfig,
    "tracker": TrackerConfig,
}
"""Where each dataclass sits in Hydra's config store, below `schema/`."""
