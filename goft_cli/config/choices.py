"""The values that keys can have: enums, because OmegaConf has no Literal, and checked ranges."""

from __future__ import annotations

from enum import Enum, StrEnum

from goft_cli.system.errors import GoftError

PENALTY_WEIGHT = 0.01
"""Weight of qGOFT's penalty if none is given; the paper uses 0.001 to 0.05."""

STRONGEST = 1.5
"""The largest strength of an adapter: 1.5 times the change that training made."""
STRENGTHS = f"a number from 0, the base model, to {STRONGEST:g}; as trained is 1"

OPEN = {"open": True}
"""Metadata of a field that maps names to values: a user may add any name, checked elsewhere."""


class Method(StrEnum):
    """Strict rotations (GOFT) or relaxed 2x2 blocks (qGOFT)."""

    goft = "goft"
    qgoft = "qgoft"


class Angle(StrEnum):
    """The learnt parameter: p with theta = pi tanh(p), or theta itself."""

    tanh = "tanh"
    direct = "direct"


class Dtype(StrEnum):
    """Precision of the frozen base weights."""

    float32 = "float32"
    bfloat16 = "bfloat16"
    float16 = "float16"


Quantization = Enum("Quantization", {"4bit": "4bit", "8bit": "8bit"}, type=str)
"""How bitsandbytes quantizes the frozen weights: NF4 with double quantization, or LLM.int8()."""


class Scheduler(StrEnum):
    """Learning-rate schedules: those of transformers, and ours."""

    linear = "linear"
    cosine = "cosine"
    cosine_with_restarts = "cosine_with_restarts"
    cosine_with_min_lr = "cosine_with_min_lr"
    cosine_warmup_with_min_lr = "cosine_warmup_with_min_lr"
    constant = "constant"
    constant_with_warmup = "constant_with_warmup"
    polynomial = "polynomial"
    inverse_sqrt = "inverse_sqrt"
    warmup_stable_decay = "warmup_stable_decay"
    reduce_lr_on_plateau = "reduce_lr_on_plateau"
    greedy = "greedy"
    fact_cosine = "fact_cosine"
    """FacT's for VTAB-1K, once an epoch; see `goft_cli.training.callbacks`."""


class Optimizer(StrEnum):
    """Optimizers of transformers: the first six need only torch, each other one a package."""

    adamw_torch = "adamw_torch"
    adamw_torch_fused = "adamw_torch_fused"
    adafactor = "adafactor"
    sgd = "sgd"
    adagrad = "adagrad"
    rmsprop = "rmsprop"
    adamw_torch_xla = "adamw_torch_xla"
    adamw_torch_npu_fused = "adamw_torch_npu_fused"
    adamw_anyprecision = "adamw_anyprecision"
    adamw_torch_4bit = "adamw_torch_4bit"
    adamw_torch_8bit = "adamw_torch_8bit"
    ademamix = "ademamix"
    adamw_bnb_8bit = "adamw_bnb_8bit"
    adamw_8bit = "adamw_8bit"
    ademamix_8bit = "ademamix_8bit"
    lion_8bit = "lion_8bit"
    lion_32bit = "lion_32bit"
    paged_adamw_32bit = "paged_adamw_32bit"
    paged_adamw_8bit = "paged_adamw_8bit"
    paged_ademamix_32bit = "paged_ademamix_32bit"
    paged_ademamix_8bit = "paged_ademamix_8bit"
    paged_lion_32bit = "paged_lion_32bit"
    paged_lion_8bit = "paged_lion_8bit"
    rmsprop_bnb = "rmsprop_bnb"
    rmsprop_bnb_8bit = "rmsprop_bnb_8bit"
    rmsprop_bnb_32bit = "rmsprop_bnb_32bit"
    galore_adamw = "galore_adamw"
    galore_adamw_8bit = "galore_adamw_8bit"
    galore_adafactor = "galore_adafactor"
    galore_adamw_layerwise = "galore_adamw_layerwise"
    galore_adamw_8bit_layerwise = "galore_adamw_8bit_layerwise"
    galore_adafactor_layerwise = "galore_adafactor_layerwise"
    lomo = "lomo"
    adalomo = "adalomo"
    grokadamw = "grokadamw"
    schedule_free_radam = "schedule_free_radam"
    schedule_free_adamw = "schedule_free_adamw"
    schedule_free_sgd = "schedule_free_sgd"
    apollo_adamw = "apollo_adamw"
    apollo_adamw_layerwise = "apollo_adamw_layerwise"
    stable_adamw = "stable_adamw"


class Sampling(StrEnum):
    """Order of the training rows; by length there is less padding."""

    random = "random"
    sequential = "sequential"
    group_by_length = "group_by_length"


class EvalStrategy(StrEnum):
    """When to evaluate and keep a checkpoint: each epoch, or every `eval_steps` updates."""

    epoch = "epoch"
    steps = "steps"


class Transform(StrEnum):
    """From an image to the model's input, always at the model's size.

    `model`: as its processor says; `imagenet`: bicubic, with ImageNet's mean and deviation.
    """

    model = "model"
    imagenet = "imagenet"


class VtabGroup(StrEnum):
    """VTAB's three groups of tasks, which have equal weight in its average."""

    natural = "natural"
    specialized = "specialized"
    structured = "structured"


class Selection(StrEnum):
    """What picks VTAB-1K's checkpoint: 200 validation images, or the test images themselves.

    `best_on_test` is how FacT's published figures were made: the best of ten evaluations on the
    test split, after training on all 1,000 images.
    """

    val200 = "val200"
    best_on_test = "best_on_test"

    def __str__(self) -> str:
        """Return the value: interpolations use it as a key."""
        return self.value


class GlobalBatch(Enum):
    """Examples per update: three readings of the paper's Table 7, two GPUs with batch size 32.

    32 on each device, accumulated twice; 32 on both devices together, accumulated twice; 32 in
    total.
    """

    per_device_128 = 128
    accumulated_64 = 64
    total_32 = 32


class TrackerName(StrEnum):
    """Where curves go besides the run folder."""

    none = "none"
    wandb = "wandb"
    tensorboard = "tensorboard"
    trackio = "trackio"
    mlflow = "mlflow"
    comet = "comet_ml"
    swanlab = "swanlab"
    clearml = "clearml"


class WandbMode(StrEnum):
    """Whether W&B, Comet, SwanLab and ClearML upload at once; `offline` writes files for later."""

    online = "online"
    offline = "offline"


class ExemplarOrder(StrEnum):
    """Few-shot examples in the file's order, or shuffled for each question."""

    file = "file"
    shuffled = "shuffled"


class Overflow(StrEnum):
    """How a prompt that is too long is shortened: by whole few-shot examples, or from the left."""

    drop_exemplars = "drop_exemplars"
    cut_left = "cut_left"


class Target(StrEnum):
    """What a task predicts; error messages about metrics print the value."""

    number = "a number"
    two = "one of two classes"
    many = "one of several classes"
    sets = "a set of labels"
    tags = "a tag for each word"
    entities = "entities"


class ClassWeights(StrEnum):
    """Weight of a row in the training loss: 1, or n / (classes * rows of its class)."""

    none = "none"
    balanced = "balanced"


class Verify(StrEnum):
    """Rows on which the rebuilt and the merged model are compared with the trained one.

    `headline`: the headline's split; if it has more than 5,000 rows, evenly spaced batches of it.
    `full`: all rows of every split.
    """

    headline = "headline"
    full = "full"


class Clearable(StrEnum):
    """What `goft doctor` can remove from the cache folder: the encoded rows."""

    tokens = "tokens"


class Harness(StrEnum):
    """Who scores a benchmark: this program, or EleutherAI's lm_eval."""

    own = "own"
    lm_eval = "lm_eval"


class ChatTemplate(StrEnum):
    """Prompt template of an instruction: LLaMA-Factory's for training, or FastChat's."""

    alpaca = "alpaca"
    alpaca_fastchat = "alpaca_fastchat"


class WithoutReference(StrEnum):
    """What the judge does with a question of mathematics or coding that lacks a reference answer.

    `general` rates it by the general prompt, the only one that the paper prints.
    """

    refuse = "refuse"
    skip = "skip"
    general = "general"


def check(condition: bool, key: str, value: object, expected: str, *, example: object) -> None:
    """Refuse a value outside its range."""
    if not condition:
        raise GoftError(
            f"{key}={value} is out of range: expected {expected}", f"pass {key}={example}"
        )


def fits_strength(strength: float | None) -> bool:
    """Tell whether an adapter can have a strength; None stands for its own."""
    return strength is None or 0 <= strength <= STRONGEST


class Section:
    """A section of a configuration, or the keys of a verb, that checks its own fields."""

    prefix = ""
    """Prefix that a user types before the name of a field."""

    def __post_init__(self) -> None:
        """Check nothing; subclasses call it through `super()`."""

    def check(self, condition: bool, name: str, expected: str, *, example: object) -> None:
        """Refuse the value of a field outside its range."""
        check(condition, f"{self.prefix}{name}", getattr(self, name), expected, example=example)


def check_name(key: str, name: str) -> None:
    """Refuse a name that, as part of a path, leaves the folder."""
    plain = not any(part in {"", ".", ".."} for part in name.split("/"))
    if not plain or not name.isprintable() or "\\" in name:
        raise GoftError(
            f"{key}={name!r} leads out of its folder: expected a name, or names joined by /",
            "choose another, and give a folder with output_dir=DIR",
        )
