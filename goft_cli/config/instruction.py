"""Instructions with their answers, for a causal language model."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from omegaconf import OmegaConf

from goft_cli.config.checks import check
from goft_cli.config.choices import GlobalBatch
from goft_cli.config.task import LOSSES, DatasetConfig, TaskConfig

HELD_OUT = "validation"
"""The split that a share of the training rows becomes."""


def held_out(share: float) -> list[str]:
    """Name the splits that are made from a share of the training rows."""
    return [HELD_OUT] if share else []


OmegaConf.register_new_resolver("held_out", held_out, replace=True)


@dataclass
class InstructionConfig(TaskConfig):
    """An instruction and perhaps an input in, an answer out (Alpaca's columns and template)."""

    family: str = "instruction"
    dataset: DatasetConfig = field(default_factory=DatasetConfig)
    """Where the rows come from without a `data_dir`."""
    column_aliases: dict[str, str] = field(default_factory=dict)
    """What published files call `instruction`, `input` or `output`: `{output: response}`."""
    max_length: int = 1024
    """Tokens of an example; of a longer one, prompt and answer are cut in proportion."""
    packing: bool = False
    """Lay the examples of a batch end to end in place of padding; each still sees itself alone."""
    global_batch: GlobalBatch = GlobalBatch.per_device_128
    """Examples per update, however many devices share them out."""
    holdout: float = 0.0
    """Share of the training rows that is kept back as the split `validation`."""
    eval_splits: Any = "${held_out:${.holdout}}"
    headline: str = "loss"
    greater_is_better: bool = False

    def __post_init__(self) -> None:
        """Check the ranges of this family."""
        check(
            self.headline in LOSSES,
            key="task.headline",
            value=self.headline,
            expected=" or ".join(LOSSES),
            example=LOSSES[0],
        )
        check(
            self.max_length >= 2,
            key="task.max_length",
            value=self.max_length,
            expected="at least 2 tokens, one of the prompt and one of the answer",
            example=1024,
        )
        check(
            0 <= self.holdout < 1,
            key="task.holdout",
            value=self.holdout,
            expected="a share from 0 to below 1",
            example=0.05,
        )
