"""What is scored but never trained on: a benchmark brings its own way of asking the model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Generic

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from goft_cli.tasks.base import ConfigT, TaskData


@dataclass(frozen=True)
class Scores:
    """What a benchmark found.

    Attributes:
        metrics: value by metric name; the task's headline is among them.
        predictions: one readable entry per question.
        breakdown: finer values by column, then by row of a table; none by default.
    """

    metrics: dict[str, float]
    predictions: Sequence[dict[str, Any]] = field(default_factory=list)
    breakdown: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


class Benchmark(ABC, Generic[ConfigT]):
    """Questions for a causal language model: `load`, then `evaluate`."""

    auto_class: ClassVar[str] = "AutoModelForCausalLM"
    processor_class: ClassVar[str] = "AutoTokenizer"

    def __init__(self, config: ConfigT) -> None:
        self.config = config

    def model_options(self) -> dict[str, Any]:
        """Return the entries of the model's configuration that the benchmark fixes: none."""
        return {}

    def processor_options(self) -> dict[str, Any]:
        """Return the entries of the tokenizer's configuration that the benchmark fixes: none."""
        return {}

    @abstractmethod
    def load(self) -> TaskData:
        """Read and check the questions."""

    def check_model(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, data: TaskData
    ) -> None:
        """Refuse a model that cannot be asked these questions; by default none."""
        return

    @abstractmethod
    def evaluate(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        data: TaskData,
        folder: Path,
        batch_size: int,
    ) -> Scores:
        """Ask every question and score the answers.

        Args:
            model: in evaluation mode, on its device; the adapter on it or merged into it.
            tokenizer: of the model.
            data: what `load` returned.
            folder: where files that outlive an interruption may be kept.
            batch_size: questions at a time.
        """
