"""What a key can take: words as enums, since OmegaConf knows no Literal, and checked ranges."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import Enum, StrEnum

from goft_cli.system.errors import GoftError

PENALTY_WEIGHT = 0.01
"""Weight of qGOFT's penalty where nobody gives one; the paper takes 0.001 to 0.05."""


class Method(StrEnum):
    """Strict rotations (GOFT) or relaxed 2x2 blocks (qGOFT)."""

    goft = "goft"
    qgoft = "qgoft"


class Angle(StrEnum):
    """What is learnt: p with theta = pi tanh(p), or theta itself."""

    tanh = "tanh"
    direct = "direct"


class Dtype(StrEnum):
    """Precision of the frozen base weights."""

    float32 = "float32"
    bfloat16 = "bfloat16"
    float16 = "float16"


Quantization = Enum("Quantization", {"4bit": "4bit", "8bit": "8bit"}, type=str)
"""How bitsandbytes packs the frozen weights: NF4 with doubly quantized scales, or LLM.int8()."""


class Scheduler(StrEnum):
    """Learning-rate schedules: those of transformers that need no further arguments, and ours."""

    linear = "linear"
    cosine = "cosine"
    constant = "constant"
    constant_with_warmup = "constant_with_warmup"
    polynomial = "polynomial"
    inverse_sqrt = "inverse_sqrt"
    fact_cosine = "fact_cosine"
    """FacT's for VTAB-1K, once an epoch; see `goft_cli.training.callbacks`."""


class Optimizer(StrEnum):
    """Optimizers of transformers that torch alone provides."""

    adamw_torch = "adamw_torch"
    adamw_torch_fused = "adamw_torch_fused"
    adafactor = "adafactor"
    sgd = "sgd"
    adagrad = "adagrad"
    rmsprop = "rmsprop"


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
    """VTAB's three kinds of tasks, which count alike in its average."""

    natural = "natural"
    specialized = "specialized"
    structured = "structured"


class Selection(StrEnum):
    """What picks VTAB-1K's checkpoint: 200 validation images, or the test images themselves.

    `best_on_test` is how FacT's published figures came about: the best of ten looks at the test
    split, after training on all 1,000 images.
    """

    val200 = "val200"
    best_on_test = "best_on_test"

    def __str__(self) -> str:
        """Return the plain word, which interpolations look other values up by."""
        return self.value


class GlobalBatch(Enum):
    """Examples per update: what batch size 32 and accumulation 2 on two GPUs may mean.

    The three readings of the paper's Table 7: 32 on each device and accumulated twice; 32 on both
    devices together and accumulated twice; 32 in total.
    """

    per_device_128 = 128
    accumulated_64 = 64
    total_32 = 32


class LossOn(StrEnum):
    """Tokens of a chat that are learnt: of the assistant's turns, of its last one, or all."""

    assistant = "assistant"
    last = "last"
    all = "all"


class Overlong(StrEnum):
    """A chat that is too long is left out, or loses its oldest turns; a system turn stays."""

    drop = "drop"
    cut_oldest = "cut_oldest"


class ToolTurns(StrEnum):
    """Tools in a chat are refused, or their results become a user's turns and calls plain text."""

    refuse = "refuse"
    text = "text"


class Invalid(StrEnum):
    """Rows that are no chats are refused, or left out with a count."""

    refuse = "refuse"
    drop = "drop"


class TrackerName(StrEnum):
    """Where curves go besides the run folder."""

    none = "none"
    wandb = "wandb"
    tensorboard = "tensorboard"
    trackio = "trackio"


class WandbMode(StrEnum):
    """`offline` writes W&B files that `wandb sync` uploads later."""

    online = "online"
    offline = "offline"


class ExemplarOrder(StrEnum):
    """Exemplars as the file has them, or shuffled anew for every question."""

    file = "file"
    shuffled = "shuffled"


class Overflow(StrEnum):
    """How a prompt is shortened that the model cannot take: whole exemplars, or from the left."""

    drop_exemplars = "drop_exemplars"
    cut_left = "cut_left"


class Verify(StrEnum):
    """Rows on which the rebuilt and the merged model are compared with the trained one.

    `headline`: the headline's split, of more than 5,000 rows some batches that are spread evenly;
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
    """How an instruction becomes a prompt: as LLaMA-Factory trains it, or as FastChat asks it."""

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


class Section:
    """What can check its own fields: a section of a configuration, or the keys of a verb."""

    prefix = ""
    """What a user types before the name of a field."""

    def check(self, condition: bool, name: str, expected: str, *, example: object) -> None:
        """Refuse the value of a field outside its range."""
        check(condition, f"{self.prefix}{name}", getattr(self, name), expected, example=example)


@dataclass
class Decoding(Section):
    """How a model writes its answers: the likeliest token always, unless a temperature is given."""

    max_new_tokens: int = 256
    """Where an answer is broken off, if the task's model answers in words."""
    temperature: float = 0.0
    """Above 0, tokens are drawn at random, the more so the higher; 0 takes the likeliest always."""
    top_p: float | None = None
    """Draw among the likeliest tokens of this total probability; by default as the model says."""
    seed: int = 0
    """Of what is drawn; each row has numbers of its own, whatever the batch it is in."""
    stop: list[str] = field(default_factory=list)
    """Texts that end an answer and are not part of it; in them `\\n` is a line break."""

    def __post_init__(self) -> None:
        self.check_decoding()
        if self.top_p is not None and self.temperature == 0:
            raise GoftError(
                f"{self.prefix}top_p={self.top_p} has no effect, as {self.prefix}temperature=0 "
                "always takes the likeliest token",
                f"pass {self.prefix}temperature=0.7 too, or drop {self.prefix}top_p",
            )

    def check_decoding(self) -> None:
        """Refuse values out of range, and read the line breaks and tabs of the stop words."""
        self.check(self.max_new_tokens > 0, "max_new_tokens", "at least 1", example=256)
        self.check(0 <= self.temperature < math.inf, "temperature", "at least 0", example=0.7)
        share = self.top_p is None or 0 < self.top_p <= 1
        self.check(share, "top_p", "above 0 and at most 1", example=0.9)
        self.check(all(self.stop), "stop", "texts that are not empty", example="[END]")
        self.stop = [word.replace("\\n", "\n").replace("\\t", "\t") for word in self.stop]


def check_name(key: str, name: str) -> None:
    """Refuse a name that would lead out of the folder that it is part of."""
    plain = not any(part in {"", ".", ".."} for part in name.split("/"))
    if not plain or not name.isprintable() or "\\" in name:
        raise GoftError(
            f"{key}={name!r} leads out of its folder: expected a name, or names joined by /",
            "choose another, and give a folder with output_dir=DIR",
        )
