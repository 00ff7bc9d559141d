"""The words a key can take, as enums, since OmegaConf knows no Literal."""

from __future__ import annotations

from enum import Enum


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


class GlobalBatch(Enum):
    """Examples per update: what batch size 32 and accumulation 2 on two GPUs may mean.

    The three readings of the paper's Table 7: 32 on each device and accumulated twice; 32 on both
    devices together and accumulated twice; 32 in total.
    """

    per_device_128 = 128
    accumulated_64 = 64
    total_32 = 32


class TrackerName(str, Enum):
    """Where curves go besides the run folder."""

    none = "none"
    wandb = "wandb"
    tensorboard = "tensorboard"


class WandbMode(str, Enum):
    """`offline` writes W&B files that `wandb sync` uploads later."""

    online = "online"
    offline = "offline"
