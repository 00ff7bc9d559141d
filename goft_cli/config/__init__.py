"""The schema of every configuration: the only place of types, defaults and ranges.

The YAML files under `configs/` state differences from these dataclasses. Hydra composes, OmegaConf
checks the types, `__post_init__` checks the ranges; after `to_object` the program uses plain
dataclasses only.
Nothing here imports torch, so that a mistyped override is reported at once.
"""

from __future__ import annotations

from goft_cli.config.adapter import AdapterConfig, GoftAdapterConfig, LayerAdapterConfig
from goft_cli.config.baselines import (
    AdaLoraAdapterConfig,
    BitFitConfig,
    BoftAdapterConfig,
    FullConfig,
    HraAdapterConfig,
    LinearProbeConfig,
    LoraAdapterConfig,
    OftAdapterConfig,
    PeftAdapterConfig,
)
from goft_cli.config.benchmarks import JudgeConfig, LmEvalConfig, MMLUConfig, VicunaConfig
from goft_cli.config.chat import ChatConfig, Invalid, LossOn, Overlong, ToolTurns
from goft_cli.config.choices import (
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
    Scheduler,
    TrackerName,
    Transform,
    Verify,
    VtabGroup,
    WandbMode,
    WithoutReference,
)
from goft_cli.config.decoding import Decoding
from goft_cli.config.exports import ExportConfig, MergeConfig, PushConfig
from goft_cli.config.families import (
    HELD_OUT,
    ImageClassificationConfig,
    InstructionConfig,
    QuestionAnsweringConfig,
    TokenClassificationConfig,
    VtabConfig,
)
from goft_cli.config.model import ModelConfig
from goft_cli.config.studies import (
    EVERY,
    HEADLINE,
    Budget,
    CompareConfig,
    MeasureConfig,
    ReportConfig,
    ReproductionConfig,
    RewindConfig,
    VerifyConfig,
)
from goft_cli.config.task import (
    TRAIN_SAMPLE,
    BenchmarkConfig,
    DatasetConfig,
    TaskConfig,
    TextClassificationConfig,
)
from goft_cli.config.trainer import LauncherConfig, TrackerConfig, TrainerConfig
from goft_cli.config.verbs import (
    DoctorConfig,
    EvalConfig,
    FetchConfig,
    InitConfig,
    PlanConfig,
    PredictConfig,
    SchemaConfig,
    TerminalConfig,
    TrainConfig,
)

__all__ = [
    "EVERY",
    "HEADLINE",
    "HELD_OUT",
    "SCHEMAS",
    "TRAIN_SAMPLE",
    "AdapterConfig",
    "BenchmarkConfig",
    "Budget",
    "ChatTemplate",
    "DatasetConfig",
    "Decoding",
    "Dtype",
    "EvalStrategy",
    "ExemplarOrder",
    "ExportConfig",
    "GlobalBatch",
    "Harness",
    "Invalid",
    "JudgeConfig",
    "LayerAdapterConfig",
    "LossOn",
    "MeasureConfig",
    "Method",
    "Optimizer",
    "Overflow",
    "Overlong",
    "PeftAdapterConfig",
    "Quantization",
    "ReproductionConfig",
    "Scheduler",
    "TaskConfig",
    "ToolTurns",
    "TrackerName",
    "Transform",
    "Verify",
    "VtabGroup",
    "WandbMode",
    "WithoutReference",
]
"""Dataclasses that are not in `SCHEMAS`."""

SCHEMAS: dict[str, type] = {
    "train": TrainConfig,
    "compare": CompareConfig,
    "eval": EvalConfig,
    "predict": PredictConfig,
    "chat": TerminalConfig,
    "merge": MergeConfig,
    "push": PushConfig,
    "verify": VerifyConfig,
    "rewind": RewindConfig,
    "plan": PlanConfig,
    "doctor": DoctorConfig,
    "fetch": FetchConfig,
    "init": InitConfig,
    "report": ReportConfig,
    "schema": SchemaConfig,
    "model": ModelConfig,
    "task/text_classification": TextClassificationConfig,
    "task/token_classification": TokenClassificationConfig,
    "task/image_classification": ImageClassificationConfig,
    "task/vtab": VtabConfig,
    "task/question_answering": QuestionAnsweringConfig,
    "task/mmlu": MMLUConfig,
    "task/vicuna": VicunaConfig,
    "task/lm_eval": LmEvalConfig,
    "task/instruction": InstructionConfig,
    "task/chat": ChatConfig,
    "adapter/goft": GoftAdapterConfig,
    "adapter/lora": LoraAdapterConfig,
    "adapter/adalora": AdaLoraAdapterConfig,
    "adapter/oft": OftAdapterConfig,
    "adapter/boft": BoftAdapterConfig,
    "adapter/hra": HraAdapterConfig,
    "adapter/bitfit": BitFitConfig,
    "adapter/full": FullConfig,
    "adapter/linear": LinearProbeConfig,
    "adapter/peft": PeftAdapterConfig,
    "trainer": TrainerConfig,
    "launcher": LauncherConfig,
    "tracker": TrackerConfig,
}
"""Dataclasses by their path in Hydra's config store, below `schema/`."""
