"""What each verb of the command line takes."""

from __future__ import annotations

from dataclasses import dataclass

from omegaconf import MISSING

from goft_cli.config.adapter import AdapterConfig
from goft_cli.config.checks import check
from goft_cli.config.model import ModelConfig
from goft_cli.config.task import TaskConfig
from goft_cli.config.trainer import TrackerConfig, TrainerConfig
from goft_cli.errors import GoftError


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
    max_new_tokens: int = 256
    """Where an answer is broken off, if the task's model answers in words."""

    def __post_init__(self) -> None:
        """Check the ranges, and that there is exactly one source of texts."""
        check_batch_size(self.batch_size)
        tokens = self.max_new_tokens
        check(tokens > 0, key="max_new_tokens", value=tokens, expected="at least 1", example=256)
        if (self.input is None) == (self.text is None):
            found = "neither" if self.input is None else "both"
            raise GoftError(
                f"predict: found {found} of input and text; pass input=FILE or text=..."
            )


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
