"""Tasks of EleutherAI's lm-eval, run with its own wrapper for transformers models.

Questions, prompts, metrics and averages over groups are lm-eval's own.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

from goft_cli.config.benchmarks import LmEvalConfig
from goft_cli.system.digests import file_sha256
from goft_cli.system.errors import GoftError
from goft_cli.tasks.base import TaskData
from goft_cli.tasks.benchmark import Benchmark, Scores, flat_results
from goft_cli.tasks.tokens import Model, Tokenizer

GROUP = re.compile(r"^group\s*:", re.MULTILINE)
"""Matches the YAML file of a group, which may name lm-eval's own tasks."""


class LmEval(Benchmark[LmEvalConfig]):
    """Runs lm-eval; tasks and their data are read before a model is loaded."""

    def __init__(self, config: LmEvalConfig) -> None:
        super().__init__(config)
        self.asked: list[Any] = []
        """lm-eval's Task and Group objects."""

    def load(self) -> TaskData:
        """Find each task and read its questions."""
        manager = index(self.config)
        tasks: dict[str, Any] = {}
        for name in resolved(self.config.tasks, manager):
            top, found = read_task(manager, name)
            self.asked += top
            tasks |= found
        source = f"lm_eval {version('lm_eval')}"
        return TaskData({}, {"source": source, "tasks": dict(described(tasks, manager))})

    def evaluate(
        self, model: Model, tokenizer: Tokenizer, data: TaskData, folder: Path, batch_size: int
    ) -> Scores:
        """Run lm-eval; the metrics are those of `tasks`, the breakdown has every single task."""
        config, models = self.config, import_module("lm_eval.models.huggingface")
        found = import_module("lm_eval").simple_evaluate(
            model=models.HFLM(pretrained=model, tokenizer=tokenizer, batch_size=batch_size),
            tasks=self.asked,
            num_fewshot=config.num_fewshot,
            limit=config.limit,
            apply_chat_template=config.apply_chat_template,
        )
        every = found["results"]
        asked = {name: every[name] for name in map(name_of, self.asked) if name in every}
        values = flat_results(asked) or flat_results(every)  # a group may have no average
        errors = flat_results(every, errors=True)
        breakdown = {"value": flat_results(every), **({"standard error": errors} if errors else {})}
        lines = [sample_line(task, one) for task, of in found["samples"].items() for one in of]
        return Scores(values, lines, breakdown)


def index(config: LmEvalConfig) -> Any:  # noqa: ANN401 - of lm-eval, which has no stubs
    """Return lm-eval's index of tasks, without its own ones if only the user's files are used.

    Listing its own tasks takes seconds.
    """
    folder = None if config.include_path is None else Path(config.include_path).expanduser()
    if folder is not None and not folder.is_dir():
        raise GoftError(f"include_path={folder}: no such folder", "pass a folder of YAML files")
    files = [Path(name).expanduser() for name in config.tasks]
    alone = folder is None and all(one.is_file() and not is_group(one) for one in files)
    manager = import_module("lm_eval.tasks").TaskManager
    return manager(include_path=folder, include_defaults=not alone)


def is_group(file: Path) -> bool:
    """Tell whether a YAML file is that of a group."""
    return GROUP.search(file.read_text(encoding="utf-8", errors="replace")) is not None


def resolved(names: list[str], manager: Any) -> Iterator[str]:  # noqa: ANN401 - see `index`
    """Yield the names and files, with patterns expanded."""
    for name in names:
        file = Path(name).expanduser()
        if name in manager.all_tasks:
            yield name
        elif file.is_file():
            yield str(file)
        elif found := manager.match_tasks([name]) if "*" in name else []:
            yield from found
        else:
            raise unknown(name, manager.all_tasks)


def unknown(name: str, names: list[str]) -> GoftError:
    """Return the error for a task that lm-eval does not have."""
    if name.endswith((".yaml", ".yml")):
        return GoftError(f"tasks: {name}: no such file", "pass the path of a YAML file")
    near = get_close_matches(name, names, n=5)
    meant = f"did you mean {', '.join(near)}?" if near else "run lm_eval ls tasks for a list"
    return GoftError(f"tasks: lm-eval has no task {name}", meant)


def read_task(manager: Any, name: str) -> tuple[list[Any], dict[str, Any]]:  # noqa: ANN401
    """Return the group or tasks of a name, and every task in it by name."""
    try:
        found = manager.load([name])
        for task in found["tasks"].values():
            len(task.eval_docs)
    except Exception as error:  # a YAML file may name any data set and run any function
        said = (str(error).splitlines() or [""])[0][:300]
        raise GoftError(
            f"tasks: {name} cannot be read ({type(error).__name__}: {said})",
            "check its YAML file and that its data set is in the cache or the hub can be reached",
        ) from error
    unsafe = [key for key, task in found["tasks"].items() if getattr(task, "UNSAFE_CODE", False)]
    if unsafe:
        raise GoftError(
            f"tasks: {unsafe[0]} would run programs that the model writes", "leave it out"
        )
    groups = list(found["groups"].values())[:1]  # itself comes first, groups in it after
    return groups or list(found["tasks"].values()), found["tasks"]


def described(tasks: Mapping[str, Any], manager: Any) -> Iterator[tuple[str, Any]]:  # noqa: ANN401
    """Yield the manifest's entry that identifies the questions of each task."""
    for name, task in tasks.items():
        file = task.dump_config().get("metadata", {}).get("config_source")
        ours = file and Path(file).is_file() and name not in manager.all_tasks
        yield (
            name,
            {
                "questions": len(task.eval_docs),
                "version": str(task.VERSION),
                "dataset": task.DATASET_PATH,
                **({"file": str(file), "sha256": file_sha256(Path(file))} if ours else {}),
            },
        )


def name_of(asked: Any) -> str:  # noqa: ANN401 - a Task or a Group
    """Return the name of a task or a group in the results."""
    return getattr(asked, "task_name", None) or asked.name


def sample_line(task: str, sample: Mapping[str, Any]) -> dict[str, Any]:
    """Return one question as a JSON object: the answers, and the value of each metric."""
    line = {"task": task, "id": sample["doc_id"], "question": sample["doc"]}
    line |= {"target": sample["target"], "answers": sample["filtered_resps"]}
    line |= {"filter": sample["filter"], **{key: sample[key] for key in sample["metrics"]}}
    return json.loads(json.dumps(line, default=str))
