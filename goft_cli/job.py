"""One run, ready to train."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from peft import PeftModel
from transformers import TrainingArguments

from goft_cli.adapters import ParameterCount
from goft_cli.backbone import Backbone
from goft_cli.benchmarks.benchmarking import LoadedBenchmark
from goft_cli.config import TrainConfig
from goft_cli.runs.run_folder import RunFolder
from goft_cli.tasks.base import Task, TaskData
from goft_cli.training.trainer import EncodedData


@dataclass(frozen=True)
class Job:
    """What a run is, where it goes, and everything loaded."""

    cfg: TrainConfig
    folder: RunFolder
    task: Task[Any, Any]
    data: TaskData
    encoded: EncodedData
    arguments: TrainingArguments
    backbone: Backbone
    model: PeftModel
    counts: ParameterCount
    benchmark: LoadedBenchmark | None
    speaks: bool
    """Whether this process writes and speaks for all that share the run."""
