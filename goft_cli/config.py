"""The schema of every configuration: the one home of types, defaults and ranges.

The YAML files under `configs/` state differences from these dataclasses. Hydra composes, OmegaConf
checks the types, `__post_init__` checks the ranges; past `to_object` only plain dataclasses travel.
Nothing here imports torch, so that a mistyped word is answered at once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from omegaconf import MISSING

from goft_cli.errors import GoftError

NUMERIC_RANGE = "{key}={value} is out of range: expected {expected}; pass {key}={example}"


def check(condition: bool, *, key: str, value: object, expected: str, example: object) -> None:
    """Refuse a value outside its range.

    Raises:
        GoftError: `condition` is false; the sentence names the key as users type it.
    """
    if not condition:
        raise GoftError(
            NUMERIC_RANGE.format(key=key, value=value, expected=expected, example=example)
        )


class Method(str, Enum):
    """Strict rotations (GOFT) or relaxed 2x2 blocks (qGOFT)."""

    goft = "goft"
    qgoft = "qgoft"


class Angle(str, Enum):
    """What is learnt: p with theta = pi tanh(p), or theta itself."""

    tanh = "tanh"
    direct = "direct"


class Dtype(str, Enum):
    """Precision of the frozen base weights."""

    float32 = "float32"
    bfloat16 = "bfloat16"
    float16 = "float16"


class Scheduler(str, Enum):
    """Learning-rate schedules of transformers that need no further arguments."""

    linear = "linear"
    cosine = "cosine"
    constant = "constant"
    constant_with_warmup = "constant_with_warmup"
    polynomial = "polynomial"
    inverse_sqrt = "inverse_sqrt"


class Optimizer(str, Enum):
    """Optimizers of transformers that torch alone provides."""

    adamw_torch = "adamw_torch"
    adamw_torch_fused = "adamw_torch_fused"
    adafactor = "adafactor"
    sgd = "sgd"
    adagrad = "adagrad"
    rmsprop = "rmsprop"


class Sampling(str, Enum):
    """Order of the training rows; by length there is less padding."""

    random = "random"
    sequential = "sequential"
    group_by_length = "group_by_length"


class EvalStrategy(str, Enum):
    """When to evaluate and keep a checkpoint: each epoch, or every `eval_steps` updates."""

    epoch = "epoch"
    steps = "steps"


class TrackerName(str, Enum):
    """Where curves go besides the run folder."""

    none = "none"
    wandb = "wandb"
    tensorboard = "tensorboard"


class WandbMode(str, Enum):
    """`offline` writes W&B files that `wandb sync` uploads later."""

    online = "online"
    offline = "offline"


@dataclass
class ModelConfig:
    """A pretrained backbone: where it is, and which of its linears an adapter turns."""

    name: str = MISSING
    path: str = MISSING
    """Hub id, local folder, or `asset:NAME` for a tiny model shipped with the package."""
    revision: str | None = None
    target_modules: list[str] = MISSING
    """Suffixes of module names, as PEFT reads them."""
    head_modules: list[str] = field(default_factory=list)
    """Modules that train beside the adapter and are saved with it; not counted as adapter."""
    dtype: Dtype = Dtype.float32
    trust_remote_code: bool = False
    """Runs code from the model repository; only ever on the user's own word."""


@dataclass
class RecipeConfig:
    """Hyperparameters known for a task: for every adapter, and for one by its name."""

    source: str = MISSING
    model: str = MISSING
    """Name of the model the values were tuned for."""
    shared: dict[str, Any] = field(default_factory=dict)
    by_adapter: dict[str, Any] = field(default_factory=dict)


@dataclass
class TaskConfig:
    """What every task family shares; a family adds its own fields."""

    name: str = MISSING
    family: str = MISSING
    data_dir: str | None = None
    """Folder with local data; without it the data comes from the hub or a generator."""
    headline: str = MISSING
    """The metric that picks the best checkpoint and stands for the run."""
    greater_is_better: bool = True
    train_split: str = "train"
    eval_splits: list[str] = field(default_factory=lambda: ["validation"])
    """The first one is scored during training; the headline comes from `headline_split`."""
    headline_split: str = "${.eval_splits.0}"
    benchmark_sizes: dict[str, int] = field(default_factory=dict)
    """Rows per split of the published benchmark; other sizes run, but are reported as such."""
    recipe: RecipeConfig = field(default_factory=RecipeConfig)


@dataclass
class DatasetConfig:
    """A dataset on the hub, or a generator of this package (`demo:NAME`)."""

    id: str = MISSING
    config: str | None = None
    revision: str | None = None


@dataclass
class TextClassificationConfig(TaskConfig):
    """One or two texts in, one label (or, without `labels`, one number) out."""

    family: str = "text_classification"
    dataset: DatasetConfig = field(default_factory=DatasetConfig)
    text_columns: list[str] = MISSING
    label_column: str = "label"
    raw_columns: list[str] = field(default_factory=list)
    """Column names for local tables that come without a header row, in order."""
    column_aliases: dict[str, str] = field(default_factory=dict)
    """What published files call a column of this task: `{label: gold_label}`."""
    labels: list[str] = field(default_factory=list)
    """Names in the order of their ids; empty means regression."""
    label_range: list[float] = field(default_factory=list)
    """Smallest and largest target of a regression."""
    metrics: list[str] = MISSING
    max_length: int = 128
    classifier_dropout: float | None = None

    def __post_init__(self) -> None:
        """Check the ranges of this family."""
        check(
            self.max_length >= 2,
            key="task.max_length",
            value=self.max_length,
            expected="at least 2 tokens",
            example=128,
        )
        dropout = self.classifier_dropout
        check(
            dropout is None or 0 <= dropout < 1,
            key="task.classifier_dropout",
            value=dropout,
            expected="a probability below 1",
            example=0.1,
        )


@dataclass
class AdapterConfig:
    """What every adapter shares: its name and where it reads its hyperparameters."""

    name: str = MISSING
    peft_type: str = MISSING
    """The PEFT method; further fields are those of its configuration class."""
    recipe: str = "${.name}"
    """Which row of the task's recipe applies."""
    fallback: dict[str, Any] = field(default_factory=dict)
    """Hyperparameters for tasks whose recipe has no row for this adapter."""


@dataclass
class GoftAdapterConfig(AdapterConfig):
    """Givens rotations on the inputs of the targeted linears (the paper's sections 4 and 5)."""

    peft_type: str = "GOFT"
    method: Method = Method.goft
    angle: Angle = Angle.tanh
    scale: bool = False
    penalty_weight: float = 0.0
    target_modules: Any = "${model.target_modules}"
    layers_to_transform: list[int] | None = None

    def __post_init__(self) -> None:
        """Check the ranges of GOFT."""
        check(
            self.penalty_weight >= 0,
            key="adapter.penalty_weight",
            value=self.penalty_weight,
            expected="a number of at least 0",
            example=0.01,
        )


@dataclass
class LoraAdapterConfig(AdapterConfig):
    """PEFT's LoRA."""

    peft_type: str = "LORA"
    r: int = 2
    lora_alpha: float = 4.0
    lora_dropout: float = 0.0
    use_rslora: bool = False
    use_dora: bool = False
    target_modules: Any = "${model.target_modules}"
    layers_to_transform: list[int] | None = None

    def __post_init__(self) -> None:
        """Check the ranges of LoRA."""
        check(self.r >= 1, key="adapter.r", value=self.r, expected="a rank of at least 1", example=8)


@dataclass
class LinearProbeConfig(AdapterConfig):
    """No adapter: the backbone stays frozen and only the head trains.

    PEFT has no such method, but any method whose targets carry this reserved name adapts nothing
    and still trains and saves the head.
    """

    peft_type: str = "LORA"
    target_modules: str = "dummy-target-modules"


@dataclass
class TrainerConfig:
    """Fields of `transformers.TrainingArguments`, by their own names."""

    learning_rate: float = MISSING
    num_train_epochs: float = MISSING
    max_steps: int = -1
    per_device_train_batch_size: int = MISSING
    per_device_eval_batch_size: int = 64
    gradient_accumulation_steps: int = 1
    lr_scheduler_type: Scheduler = Scheduler.linear
    warmup_steps: float = MISSING
    """Updates, or below 1 the share of all updates."""
    weight_decay: float = MISSING
    max_grad_norm: float = 1.0
    label_smoothing_factor: float = 0.0
    optim: Optimizer = Optimizer.adamw_torch
    adam_beta1: float = 0.9
    adam_beta2: float = 0.999
    adam_epsilon: float = 1e-8
    bf16: bool = False
    fp16: bool = False
    tf32: bool | None = None
    gradient_checkpointing: bool = False
    torch_compile: bool = False
    eval_strategy: EvalStrategy = EvalStrategy.epoch
    eval_steps: int | None = None
    logging_steps: int = 10
    save_total_limit: int = 2
    dataloader_num_workers: int = 0
    full_determinism: bool = False
    use_cpu: bool = False
    train_sampling_strategy: Sampling = Sampling.random

    def __post_init__(self) -> None:
        """Check the ranges that `TrainingArguments` would accept or report late."""
        self._positive("learning_rate", 1e-3)
        self._positive("num_train_epochs", 3)
        for key in ("per_device_train_batch_size", "per_device_eval_batch_size"):
            self._positive(key, 32)
        self._positive("gradient_accumulation_steps", 1)
        self._positive("logging_steps", 10)
        self._positive("save_total_limit", 2)
        for key in ("weight_decay", "warmup_steps", "max_grad_norm", "dataloader_num_workers"):
            value = getattr(self, key)
            check(
                value >= 0, key=f"trainer.{key}", value=value, expected="at least 0", example=0
            )
        steps = self.eval_steps
        check(
            self.eval_strategy is EvalStrategy.epoch or (steps is not None and steps > 0),
            key="trainer.eval_steps",
            value=steps,
            expected="a number of updates when trainer.eval_strategy=steps",
            example=100,
        )

    def _positive(self, key: str, example: float) -> None:
        value = getattr(self, key)
        check(
            value > 0, key=f"trainer.{key}", value=value, expected="above 0", example=example
        )


@dataclass
class TrackerConfig:
    """An experiment tracker, off by default."""

    name: TrackerName = TrackerName.none
    project: str = "goft"
    mode: WandbMode = WandbMode.online


@dataclass
class TrainConfig:
    """`goft train`."""

    model: ModelConfig = MISSING
    task: TaskConfig = MISSING
    adapter: AdapterConfig = MISSING
    trainer: TrainerConfig = MISSING
    tracker: TrackerConfig = MISSING
    seed: int = 42
    run_name: str = MISSING
    output_dir: str = MISSING
    overwrite: bool = False
    """Replace what another configuration left in the run folder."""


@dataclass
class TrainedConfig:
    """What every verb on a trained run takes."""

    adapter: str = MISSING
    """The run folder, or the adapter folder inside it."""
    base_model: str | None = None
    """Where the base model is now, if it has moved since training."""


@dataclass
class EvalConfig(TrainedConfig):
    """`goft eval`."""

    data_dir: str | None = None
    """Score other local data of the same task."""
    merged: bool = False
    """Merge the adapter into the weights first."""
    batch_size: int = 64
    output: str | None = None
    """JSON file for the scores; `eval.json` in the run folder by default."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        check_batch_size(self.batch_size)


@dataclass
class PredictConfig(TrainedConfig):
    """`goft predict`."""

    input: str | None = None
    """A table with the task's text columns: tsv, csv, jsonl or parquet."""
    text: str | None = None
    """One text, in place of a file."""
    output: str = "predictions.jsonl"
    overwrite: bool = False
    batch_size: int = 64

    def __post_init__(self) -> None:
        """Check the ranges, and that there is exactly one source of texts."""
        check_batch_size(self.batch_size)
        if (self.input is None) == (self.text is None):
            found = "neither" if self.input is None else "both"
            raise GoftError(f"predict: found {found} of input and text; pass input=FILE or text=...")


@dataclass
class MergeConfig(TrainedConfig):
    """`goft merge`."""

    output_dir: str | None = None
    """Folder for the plain model; `merged` in the run folder by default."""


def check_batch_size(size: int) -> None:
    """Refuse a batch without rows.

    Raises:
        GoftError: the size is not positive.
    """
    check(size > 0, key="batch_size", value=size, expected="at least 1", example=64)


SCHEMAS: dict[str, type] = {
    "train": TrainConfig,
    "eval": EvalConfig,
    "predict": PredictConfig,
    "merge": MergeConfig,
    "model": ModelConfig,
    "task/text_classification": TextClassificationConfig,
    "adapter/goft": GoftAdapterConfig,
    "adapter/lora": LoraAdapterConfig,
    "adapter/linear": LinearProbeConfig,
    "trainer": TrainerConfig,
    "tracker": TrackerConfig,
}
