"""Benchmarks, which are scored and not trained: MMLU, Vicuna with a judge, lm-eval's tasks."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from goft_cli.config.choices import (
    ChatTemplate,
    ExemplarOrder,
    Overflow,
    Section,
    WithoutReference,
    check,
)
from goft_cli.config.decoding import Decoding
from goft_cli.config.task import BenchmarkConfig, DatasetConfig
from goft_cli.system.errors import GoftError

LONGEST_NAME = 60
"""Characters of a list of tasks in the name of a file."""


@dataclass
class MMLUConfig(BenchmarkConfig):
    """Questions by subject, scored by the next token after `Answer:`."""

    family: str = "mmlu"
    dataset: DatasetConfig = field(default_factory=DatasetConfig)
    """The dataset of the questions, read if `data_dir` is not given."""
    train_split: str = "dev"
    """The split of the few-shot examples; nothing is trained."""
    eval_splits: list[str] = field(default_factory=lambda: ["test"])
    headline: str = ""
    """Set from `shots`: the average at the last of them."""
    shots: list[int] = field(default_factory=lambda: [0, 5])
    """Numbers of few-shot examples; each number is scored."""
    header: str = "The following are multiple choice questions (with answers) about {subject}."
    """First line of the prompt, before a blank line; empty for none."""
    exemplar_order: ExemplarOrder = ExemplarOrder.file
    """Order of the few-shot examples: that of the file, or shuffled for each question."""
    shuffle_seed: int = 42
    """Seed of `exemplar_order=shuffled`."""
    drop_first_rows: bool = False
    """Drop the first row of each subject, as loaders do that mistake it for a header."""
    pandas_cells: bool = False
    """Read texts as pandas does: None and N/A become nan, 0.50 becomes 0.5."""
    strip_questions: bool = False
    """Strip whitespace from questions; choices stay as they are."""
    overflow: Overflow = Overflow.drop_exemplars
    """What is removed from a prompt that is too long: whole few-shot examples, or its first
    tokens."""
    cache_prefix: bool = True
    """Compute the common prefix of a subject's prompts once; the answers are the same."""
    categories: dict[str, list[str]] = field(default_factory=dict)
    """Subjects by category; a subject without a category counts only in the average."""
    lm_eval_task: str | None = None
    """The benchmark's name in EleutherAI's lm-eval, for `harness=lm_eval`."""

    def __post_init__(self) -> None:
        self.check(
            bool(self.shots) and min(self.shots) >= 0 and len({*self.shots}) == len(self.shots),
            "shots",
            "different numbers of few-shot examples of at least 0",
            example="[0,5]",
        )
        self.headline = f"average_{self.shots[-1]}_shot"


@dataclass
class LmEvalConfig(BenchmarkConfig):
    """Tasks of EleutherAI's lm-eval, with its questions, prompts, metrics and averages."""

    family: str = "lm_eval"
    name: str = "lm_eval"
    """Prefix of the name; the `tasks` follow, so that each list of tasks has its own scores."""
    headline: str = "acc"
    tasks: list[str] = field(default_factory=list)
    """Tasks, groups and tags by name, patterns such as `mmlu_*`, or YAML files of your own."""
    include_path: str | None = None
    """Folder of your own YAML tasks, which `tasks` can then name."""
    num_fewshot: int | None = None
    """Few-shot examples before each question; by default each task's own number."""
    limit: float | None = None
    """Questions of each task, or below 1 the share of them; by default all."""
    apply_chat_template: bool = False
    """Format each prompt with the chat template of the model's tokenizer."""

    def __post_init__(self) -> None:
        shots, limit = self.num_fewshot, self.limit
        once = len(self.tasks) == len({*self.tasks})
        self.check(once, "tasks", "each task once", example="[hellaswag]")
        self.check(shots is None or shots >= 0, "num_fewshot", "at least 0", example=5)
        self.check(limit is None or limit > 0, "limit", "above 0", example=100)
        if self.tasks and self.name == self.family:
            listed = "+".join(re.sub(r"[^\w.-]", "_", Path(one).stem) for one in self.tasks)
            digest = hashlib.sha256(listed.encode()).hexdigest()[:6]
            long = len(listed) > LONGEST_NAME
            listed = f"{listed[:LONGEST_NAME]}-{digest}" if long else listed
            self.name = f"{self.family}/{listed}"


@dataclass
class JudgeConfig(Section):
    """A model behind an OpenAI-compatible endpoint; its key is read only from the environment."""

    prefix = "task.judge."
    base_url: str | None = None
    """Endpoint, such as `https://api.openai.com/v1`; without it answers are not rated."""
    model: str = "gpt-4-turbo"
    """Name of the judge model; the default is the paper's."""
    api_key_variable: str = "OPENAI_API_KEY"
    """Name of the environment variable with the key; a server without keys needs none."""
    prompts: str = "own"
    """`own` for goft's prompts, or the path of FastChat's judge_prompts.jsonl, which ratings
    comparable to published ones need."""
    references: str | None = None
    """File of reference answers to mathematics and coding, such as FastChat's
    reference_answer/gpt-4.jsonl."""
    without_reference: WithoutReference = WithoutReference.refuse
    """What to do with mathematics and coding questions without a reference answer."""
    concurrency: int = 4
    """Requests sent at the same time."""
    retries: int = 6
    """Retries of a failed request."""
    backoff_seconds: float = 1.0
    """Wait before the first retry, doubled for each further one."""
    timeout_seconds: float = 120.0
    """Longest wait for an answer."""

    def __post_init__(self) -> None:
        if self.base_url is not None:
            check_endpoint(self.base_url)
        if not self.api_key_variable.isidentifier():
            raise GoftError(
                "task.judge.api_key_variable is not the name of an environment variable",
                "name a variable, and put the key into it",
            )
        for key, least in (("concurrency", 1), ("retries", 0), ("backoff_seconds", 0)):
            self.check(getattr(self, key) >= least, key, f"at least {least}", example=1)
        self.check(self.timeout_seconds > 0, "timeout_seconds", "above 0", example=120)


@dataclass
class VicunaConfig(BenchmarkConfig, Decoding):
    """Questions in FastChat's format; the answers' mean rating from 1 to 10 is the headline."""

    family: str = "vicuna"
    headline: str = "rating"
    eval_splits: list[str] = field(default_factory=lambda: ["question"])
    dataset: DatasetConfig | None = None
    """A demo of this package; other questions are read from `question.jsonl` in `data_dir`."""
    chat_template: ChatTemplate = ChatTemplate.alpaca
    """Prompt template of a question."""
    temperature: float = 0.7
    """Sampling temperature of categories that `temperatures` does not name; 0 decodes greedily."""
    temperatures: dict[str, float] = field(default_factory=lambda: {"math": 0.0, "coding": 0.0})
    """Sampling temperatures by category."""
    max_new_tokens: int = 1024
    """Longest answer, in tokens."""
    seed: int = 0
    """Seed of the sampled answers; each question has its own random numbers."""
    answers: str | None = None
    """File of earlier answers, of goft or FastChat: they are rated, none is generated."""
    judge: JudgeConfig = field(default_factory=JudgeConfig)
    """The model that rates the answers."""
    against: str | None = None
    """Judgments of another run, or its folder: counts the questions won, tied and lost."""

    def __post_init__(self) -> None:
        """Check the ranges, and choose the headline: without a judge there is no rating."""
        for name, value in self.temperatures.items():
            check(value >= 0, f"task.temperatures.{name}", value, "at least 0", example=0.7)
        self.check_decoding()
        one, headlines = len(self.eval_splits) == 1, "rating, or answered where there is no judge"
        self.check(one, "eval_splits", "one file of questions", example="[question]")
        self.check(self.headline in {"rating", "answered"}, "headline", headlines, example="rating")
        if self.judge.base_url is None:
            self.headline = "answered"
            if self.against is not None:
                raise GoftError(
                    f"task.against={self.against} compares ratings, but there is no judge",
                    "pass task.judge.base_url=URL",
                )


def check_endpoint(url: str) -> None:
    """Refuse a URL that is not plain; the error does not show it, for it may hold a secret."""
    try:
        parts = urlsplit(url)
        known = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:  # an incomplete IPv6 address, or a port that is not a number
        known = False
    secretive = "@" in url or "?" in url
    if not known or secretive or " " in url or not url.isprintable():
        raise GoftError(
            "task.judge.base_url: expected a plain address such as http://localhost:8000/v1",
            "pass one without user name, password and query; put the key into the environment "
            "variable that task.judge.api_key_variable names",
        )
