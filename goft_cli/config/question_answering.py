"""Answers that are spans of a text."""

from __future__ import annotations

from dataclasses import dataclass, field

from goft_cli.config.checks import check
from goft_cli.config.task import DatasetConfig, TaskConfig

SCORES = ("exact_match", "f1")


@dataclass
class QuestionAnsweringConfig(TaskConfig):
    """A question and a context in, a span of the context out, scored as SQuAD v1.1 is."""

    family: str = "question_answering"
    dataset: DatasetConfig = field(default_factory=DatasetConfig)
    """Where the rows come from without a `data_dir`."""
    headline: str = "f1"
    max_length: int = 384
    """Tokens of one window: question, piece of the context, special tokens."""
    doc_stride: int = 128
    """Tokens of the context that two neighbouring windows share."""
    n_best_size: int = 20
    """How many starts and ends of a window are paired, and how many answers are kept."""
    max_answer_length: int = 30
    """Tokens."""

    def __post_init__(self) -> None:
        """Check the ranges of this family."""
        check(
            self.headline in SCORES,
            key="task.headline",
            value=self.headline,
            expected=" or ".join(SCORES),
            example=SCORES[-1],
        )
        check(
            0 <= self.doc_stride < self.max_length,
            key="task.doc_stride",
            value=self.doc_stride,
            expected=f"at least 0 and below task.max_length={self.max_length}",
            example=self.max_length // 3,
        )
        for key in ("n_best_size", "max_answer_length"):
            value = getattr(self, key)
            check(value >= 1, key=f"task.{key}", value=value, expected="at least 1", example=20)
