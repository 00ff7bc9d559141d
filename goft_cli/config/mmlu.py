"""Multiple choice in the form of MMLU: exemplars, a question, four lettered answers."""

from __future__ import annotations

from dataclasses import dataclass, field

from goft_cli.config.checks import check
from goft_cli.config.choices import ExemplarOrder, Overflow
from goft_cli.config.task import BenchmarkConfig, DatasetConfig


@dataclass
class MMLUConfig(BenchmarkConfig):
    """Questions by subject, scored by the next token after `Answer:`."""

    family: str = "mmlu"
    dataset: DatasetConfig = field(default_factory=DatasetConfig)
    """Where the questions come from without a `data_dir`."""
    train_split: str = "dev"
    """Where the exemplars come from; nothing is trained."""
    eval_splits: list[str] = field(default_factory=lambda: ["test"])
    headline: str = ""
    """Follows `shots`: the average at the last of them."""
    shots: list[int] = field(default_factory=lambda: [0, 5])
    """Numbers of exemplars, scored one after the other."""
    header: str = "The following are multiple choice questions (with answers) about {subject}."
    """What opens the prompt, before a blank line; empty for none."""
    exemplar_order: ExemplarOrder = ExemplarOrder.file
    """Order of the exemplars: that of the file, or shuffled for each question."""
    shuffle_seed: int = 42
    """Of `exemplar_order=shuffled`."""
    drop_first_rows: bool = False
    """Lose the first row of each subject, as a loader does that takes it for a header."""
    pandas_cells: bool = False
    """Take texts as pandas reads them: None and N/A become nan, 0.50 becomes 0.5."""
    strip_questions: bool = False
    """Take questions without the blanks at their ends; choices stay as they are."""
    overflow: Overflow = Overflow.drop_exemplars
    """What gives way where a prompt is too long: whole exemplars, or its first tokens."""
    cache_prefix: bool = True
    """Compute once what the prompts of a subject have in common; the answers are the same."""
    categories: dict[str, list[str]] = field(default_factory=dict)
    """Subjects by category; a subject in none counts in the average alone."""
    lm_eval_task: str | None = None
    """What EleutherAI's harness calls the benchmark, for `harness=lm_eval`."""

    def __post_init__(self) -> None:
        """Check the numbers of exemplars, and name the headline after the last."""
        check(
            bool(self.shots) and min(self.shots) >= 0 and len({*self.shots}) == len(self.shots),
            key="task.shots",
            value=self.shots,
            expected="different numbers of exemplars of at least 0",
            example="[0,5]",
        )
        self.headline = f"average_{self.shots[-1]}_shot"
