"""The schema of every configuration: the one home of types, defaults and ranges.

The YAML files under `configs/` state differences from these dataclasses. Hydra composes, OmegaConf
checks the types, `__post_init__` checks the ranges; past `to_object` only plain dataclasses travel.
Nothing here imports torch, so that a mistyped word is answered at once.
"""

from __future__ import annotations

from goft_cli.config.adapter import (
    AdaLoraAdapterConfig,
    AdapterConfig,
    BitFitConfig,
    BoftAdapterConfig,
    FullConfig,
    GoftAdapterConfig,
    HraAdapterConfig,
    LinearProbeConfig,
    LoraAdapterConfig,
    OftAdapterConfig,
)
from goft_cli.config.choices import (
    Angle,
    ChatTemplate,
    Dtype,
    EvalStrategy,
    ExemplarOrder,
    GlobalBatch,
    Harness,
    Method,
    Optimizer,
    Sampling,
    Scheduler,
    Selection,
    TrackerName,
    Transform,
    VtabGroup,
    WandbMode,
    WithoutReference,
)
from goft_cli.config.image_classification import (
    ImageClassificationConfig,
    SplitsConfig,
    VtabConfig,
)
from goft_cli.config.instruction import HELD_OUT, InstructionConfig
from goft_cli.config.mmlu import MMLUConfig
from goft_cli.config.model import ModelConfig
from goft_cli.config.question_answering import QuestionAnsweringConfig
from goft_cli.config.reproduction import EVERY, HEADLINE, MeasureConfig, ReproductionConfig
from goft_cli.config.task import (
    TRAIN_SAMPLE,
    BenchmarkConfig,
    DatasetConfig,
    RecipeConfig,
    TaskConfig,
    TextClassificationConfig,
)
from goft_cli.config.trainer import TrackerConfig, TrainerConfig
from goft_cli.config.verbs import EvalConfig, MergeConfig, PredictConfig, TrainConfig, TrainedConfig
from goft_cli.config.vicuna import JudgeConfig, VicunaConfig

__all__ = [
    "EVERY",
    "HEADLINE",
    "HELD_OUT",
    "SCHEMAS",
    "TRAIN_SAMPLE",
    "AdaLoraAdapterConfig",
    "AdapterConfig",
    "Angle",
    "BenchmarkConfig",
    "BitFitConfig",
    "BoftAdapterConfig",
    "ChatTemplate",
    "DatasetConfig",
    "Dtype",
    "EvalConfig",
    "EvalStrategy",
    "ExemplarOrder",
    "FullConfig",
    "GlobalBatch",
    "GoftAdapterConfig",
    "Harness",
    "HraAdapterConfig",
    "ImageClassificationConfig",
    "InstructionConfig",
    "JudgeConfig",
    "LinearProbeConfig",
    "LoraAdapterConfig",
    "MMLUConfig",
    "MeasureConfig",
    "MergeConfig",
    "Method",
    "ModelConfig",
    "OftAdapterConfig",
    "Optimizer",
    "PredictConfig",
    "QuestionAnsweringConfig",
    "RecipeConfig",
    "ReproductionConfig",
    "Sampling",
    "Scheduler",
    "Selection",
    "SplitsConfig",
    "TaskConfig",
    "TextClassificationConfig",
    "TrackerConfig",
    "TrackerName",
    "TrainConfig",
    "TrainedConfig",
    "TrainerConfig",
    "Transform",
    "VicunaConfig",
    "VtabConfig",
    "VtabGroup",
    "WandbMode",
    "WithoutReference",
]

SCHEMAS: dict[str, type] = {
    "train": TrainConfig,
    "eval": EvalConfig,
    "predict": PredictConfig,
    "merge": MergeConfig,
    "model": ModelConfig,
    "task/text_classification": TextClassificationConfig,
    "task/image_classification": ImageClassificationConfig,
    "task/vtab": VtabConfig,
    "task/question_answering": QuestionAnsweringConfig,
    "task/mmlu": MMLUConfig,
    "task/vicuna": VicunaConfig,
    "task/instruction": InstructionConfig,
    "adapter/goft": GoftAdapterConfig,
    "adapter/lora": LoraAdapterConfig,
    "adapter/adalora": AdaLoraAdapterConfig,
    "adapter/oft": OftAdapterConfig,
    "adapter/boft": BoftAdapterConfig,
    "adapter/hra": HraAdapterConfig,
    "adapter/bitfit": BitFitConfig,
    "adapter/full": FullConfig,
    "adapter/linear": LinearProbeConfig,
    "trainer": TrainerConfig,
    "tracker": TrackerConfig,
}
"""Where each dataclass sits in Hydra's config store, below `schema/`."""
