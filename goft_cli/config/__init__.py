"""The schema of every configuration: the one home of types, defaults and ranges.

The YAML files under `configs/` state differences from these dataclasses. Hydra composes, OmegaConf
checks the types, `__post_init__` checks the ranges; past `to_object` only plain dataclasses travel.
Nothing here imports torch, so that a mistyped word is answered at once.
"""

from __future__ import annotations

from goft_cli.config.adapter import AdapterConfig, GoftAdapterConfig, LayerAdapterConfig
from goft_cli.config.baselines import (
    AdaLoraAdapterConfig,
    BoftAdapterConfig,
    HraAdapterConfig,
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
    Overflow,
    Quantization,
    Sampling,
    Scheduler,
    Selection,
    TrackerName,
    Transform,
    VtabGroup,
    WandbMode,
    WithoutReference,
)
from goft_cli.config.comparison import Budget, CompareConfig
from goft_cli.config.image_classification import (
    ImageClassificationConfig,
    SplitsConfig,
    VtabConfig,
)
from goft_cli.config.instruction import HELD_OUT, InstructionConfig
from goft_cli.config.launcher import LauncherConfig
from goft_cli.config.mmlu import MMLUConfig
from goft_cli.config.model import ModelConfig
from goft_cli.config.no_layers import BitFitConfig, FullConfig, LinearProbeConfig
from goft_cli.config.question_answering import QuestionAnsweringConfig
from goft_cli.config.report import ReportConfig
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
from goft_cli.config.verbs import (
    DoctorConfig,
    EvalConfig,
    ExportConfig,
    FetchConfig,
    MergeConfig,
    PlanConfig,
    PredictConfig,
    PushConfig,
    TrainConfig,
    TrainedConfig,
)
from goft_cli.config.verify import VerifyConfig
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
    "Budget",
    "ChatTemplate",
    "CompareConfig",
    "DatasetConfig",
    "DoctorConfig",
    "Dtype",
    "EvalConfig",
    "EvalStrategy",
    "ExemplarOrder",
    "ExportConfig",
    "FetchConfig",
    "FullConfig",
    "GlobalBatch",
    "GoftAdapterConfig",
    "Harness",
    "HraAdapterConfig",
    "ImageClassificationConfig",
    "InstructionConfig",
    "JudgeConfig",
    "LauncherConfig",
    "LayerAdapterConfig",
    "LinearProbeConfig",
    "LoraAdapterConfig",
    "MMLUConfig",
    "MeasureConfig",
    "MergeConfig",
    "Method",
    "ModelConfig",
    "OftAdapterConfig",
    "Optimizer",
    "Overflow",
    "PlanConfig",
    "PredictConfig",
    "PushConfig",
    "Quantization",
    "QuestionAnsweringConfig",
    "RecipeConfig",
    "ReportConfig",
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
    "VerifyConfig",
    "VicunaConfig",
    "VtabConfig",
    "VtabGroup",
    "WandbMode",
    "WithoutReference",
]

SCHEMAS: dict[str, type] = {
    "train": TrainConfig,
    "compare": CompareConfig,
    "eval": EvalConfig,
    "predict": PredictConfig,
    "merge": MergeConfig,
    "push": PushConfig,
    "verify": VerifyConfig,
    "plan": PlanConfig,
    "doctor": DoctorConfig,
    "fetch": FetchConfig,
    "report": ReportConfig,
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
    "launcher": LauncherConfig,
    "tracker": TrackerConfig,
}
"""Where each dataclass sits in Hydra's config store, below `schema/`."""
