"""A stand-in for the package lm_eval: its own tasks and YAML files have one question each."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import filter as matching
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from goft_cli.tasks import lm_eval_tasks

OWN_TASKS = ["arc_easy", "hellaswag"]
SCORE, ERROR = 0.5, 0.1
"""The accuracy of every task that has no results of its own, and its standard error."""

Results = Mapping[str, Mapping[str, Any]]


@dataclass
class Task:
    """A task of one question."""

    task_name: str
    file: Path | None = None
    VERSION = 1.0
    DATASET_PATH = "made_up"
    eval_docs = ("Name a bird.",)

    def dump_config(self) -> dict[str, Any]:
        return {"metadata": {"config_source": str(self.file)}} if self.file else {}


@dataclass
class TaskManager:
    """The index of the tasks, as `lm_eval.tasks.TaskManager`."""

    include_path: Path | None = None
    include_defaults: bool = True

    @property
    def all_tasks(self) -> list[str]:
        return OWN_TASKS if self.include_defaults else []

    def match_tasks(self, patterns: list[str]) -> list[str]:
        return [name for one in patterns for name in matching(self.all_tasks, one)]

    def load(self, names: list[str]) -> dict[str, dict[str, Any]]:
        tasks = {
            Path(name).stem: Task(Path(name).stem, None if name in self.all_tasks else Path(name))
            for name in names
        }
        return {"tasks": tasks, "groups": {}}


def scores(tasks: list[Task]) -> tuple[Results, dict[str, list[dict[str, Any]]]]:
    """Return the same score for each task, and one sample of each."""
    names = [task.task_name for task in tasks]
    value = {"acc,none": SCORE, "acc_stderr,none": ERROR}
    sample = {"doc_id": 0, "doc": Task.eval_docs[0], "target": "0", "filtered_resps": ["0"]}
    sample |= {"filter": "none", "metrics": ["acc"], "acc": SCORE}
    return {name: {"alias": name, **value} for name in names}, {name: [sample] for name in names}


def install(
    monkeypatch: pytest.MonkeyPatch, results: Results | None = None, groups: Results | None = None
) -> list[dict[str, Any]]:
    """Replace lm_eval, and return the list of the calls of `simple_evaluate`."""
    calls: list[dict[str, Any]] = []

    def simple_evaluate(**words: Any) -> dict[str, Any]:  # noqa: ANN401 - any of its arguments
        calls.append(words)
        found, samples = (results, {}) if results else scores(words["tasks"])
        return {"results": found, "groups": groups or {}, "samples": samples}

    contents = {
        "lm_eval": {"simple_evaluate": simple_evaluate},
        "lm_eval.tasks": {"TaskManager": TaskManager},
        "lm_eval.models": {},
        "lm_eval.models.huggingface": {"HFLM": lambda **words: SimpleNamespace(**words)},
    }
    for name, content in contents.items():
        module = ModuleType(name)
        module.__spec__ = ModuleSpec(name, None)  # read by find_spec
        module.__dict__.update(content)
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(lm_eval_tasks, "version", lambda _: "0.4.13")
    return calls
