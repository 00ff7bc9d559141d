"""A finished run read from its folder, each file when it is asked for."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from html import escape
from pathlib import Path
from typing import Any

from goft_cli.config import TrainConfig
from goft_cli.config.model import real_name
from goft_cli.run.configuration import read_config
from goft_cli.run.folder import RunFolder
from goft_cli.system.errors import GoftError
from goft_cli.system.files import read_json
from goft_cli.system.imports import importing


@dataclass(frozen=True)
class RunRecord:
    """What a finished run wrote; a damaged file is a GoftError when it is first asked for."""

    folder: RunFolder

    @classmethod
    def of(cls, cfg: TrainConfig) -> RunRecord:
        """Return the record of a configuration's run, without reading its file."""
        record = cls(RunFolder(Path(cfg.output_dir)))
        vars(record)["cfg"] = cfg
        return record

    @cached_property
    def cfg(self) -> TrainConfig:
        """Its configuration."""
        return read_config(self.folder.config)

    @cached_property
    def metrics(self) -> Mapping[str, Any]:
        """Content of `metrics.json`."""
        return read_json(self.folder.metrics)

    @cached_property
    def manifest(self) -> Mapping[str, Any]:
        """Content of `manifest.json`."""
        return read_json(self.folder.manifest)

    @cached_property
    def history(self) -> Sequence[Mapping[str, Any]]:
        """What training logged, update by update; an early run may lack it."""
        return read_json(self.folder.history)["logged"] if self.folder.history.is_file() else []

    @cached_property
    def classes(self) -> Mapping[str, Any]:
        """Content of `classes.json`; empty where there are no classes, and of an early run."""
        return read_json(self.folder.classes) if self.folder.classes.is_file() else {}

    @cached_property
    def rewound(self) -> Mapping[str, Any]:
        """Content of `rewind.json`; empty if `goft rewind` did not write it."""
        return read_json(self.folder.rewound) if self.folder.rewound.is_file() else {}

    @property
    def task(self) -> str:
        """Name of its task."""
        return self.cfg.task.name

    @property
    def model(self) -> str:
        """Name of its model, as it was recorded."""
        return self.metrics["model"]

    @property
    def adapter(self) -> str:
        """Name of its adapter."""
        return self.cfg.adapter.name

    @property
    def seed(self) -> int:
        """Its seed."""
        return self.cfg.seed

    @property
    def label(self) -> str:
        """Adapter and run name."""
        return f"{self.adapter} {self.cfg.run_name}"

    @property
    def headline(self) -> str:
        """Name of the metric that ranks it."""
        return self.metrics["headline"]["name"]

    @property
    def score(self) -> float:
        """The headline's value."""
        return self.metrics["headline"]["value"]

    @property
    def greater_is_better(self) -> bool:
        """Whether a greater score is the better one."""
        return self.cfg.task.greater_is_better

    @property
    def merit(self) -> float:
        """The score, negated if less is better."""
        return self.score if self.greater_is_better else -self.score

    @property
    def benchmark_scores(self) -> dict[str, float]:
        """The benchmark's headline, named such as `mmlu/full.average_0_shot`.

        lm-eval's tasks have no common headline, so they give all their scores. Empty if no
        benchmark was scored after the training.
        """
        if self.cfg.benchmark is None:
            return {}
        name, headline = self.cfg.benchmark.name, self.cfg.benchmark.headline
        scores = self.metrics["metrics"].get(name, {})
        kept = [headline] if headline in scores else list(scores)
        return {f"{name}.{key}": scores[key] for key in kept}

    @property
    def parameters(self) -> int:
        """How many parameters the adapter trains, the head left out."""
        return self.metrics["trainable_parameters"]

    @property
    def head_parameters(self) -> int:
        """How many parameters train beside the adapter."""
        return self.metrics["head_parameters"]

    @property
    def train_seconds(self) -> float:
        """Wall clock of the training."""
        return self.metrics["train_seconds"]

    @property
    def peak_memory_bytes(self) -> int:
        """Peak of the process, or of the GPU's allocator."""
        return self.metrics["peak_memory_bytes"]

    @property
    def environment(self) -> Mapping[str, Any]:
        """Versions and hardware."""
        return self.manifest["environment"]

    def _repr_html_(self) -> str:
        """Return its table and the picture of its curves, which a notebook shows."""
        from goft_cli.run.summary import summary_table

        shown = summary_table(self.metrics).html()
        picture = self.folder.path / "curves.png"
        if picture.is_file():
            encoded = b64encode(picture.read_bytes()).decode()
            shown += f'<img src="data:image/png;base64,{encoded}" alt="curves">'
        return f"{shown}<p>{escape(str(self.folder.path))}</p>"

    def series(self, key: str) -> list[tuple[float, float]]:
        """Return (updates, value) wherever `key` was logged."""
        return [(row["step"], row[key]) for row in self.history if key in row]


def find_run(adapter: str, *, key: str = "adapter") -> RunFolder:
    """Find the run that a path belongs to: the run folder itself, or its adapter folder.

    `key` is what the user typed before the path.
    """
    path = Path(adapter).expanduser()
    for candidate in (path, path.parent):
        folder = RunFolder(candidate)
        if folder.config.is_file():
            if folder.finished:
                return folder
            if folder.is_run:
                found = "is not finished" if folder.began else "ended before its training began"
                raise GoftError(
                    f"{key}={adapter}: the run {found}", "start its goft train command again"
                )
    found = "the folder holds no run of goft train (no config.yaml)"
    raise GoftError(
        f"{key}={adapter}: {found if path.exists() else 'there is no such folder'}",
        "pass a folder such as outputs/TASK/MODEL/ADAPTER/RUN",
    )


def at_strength(name: str, folder: RunFolder, strength: float | None) -> str:
    """Name an export of a run; the name has the strength if it is not the run's own."""
    own = strength in {None, RunRecord(folder).cfg.adapter.strength}
    return name if own else f"{name}-{strength:g}"


def importing_for(adapter: str) -> AbstractContextManager[None]:
    """Return the context in which to import the libraries for a run; refuse a path without one."""
    return importing(packed=RunRecord(find_run(adapter)).cfg.model.quantization is not None)


def find_runs(place: str | Path) -> list[RunRecord]:
    """Return the finished runs at or below a path, sorted; refuse a path without any."""
    files = sorted(Path(place).expanduser().rglob("metrics.json"))
    if not files:
        raise GoftError(
            f"runs={place}: found no finished run below it",
            "pass a folder such as outputs/TASK/MODEL/ADAPTER/RUN, or outputs for all",
        )
    return [RunRecord(RunFolder(file.parent)) for file in files]


def of_one_subject(places: str | Sequence[str]) -> list[RunRecord]:
    """Find and read the finished runs at or below the paths, which must share task and model."""
    named = [places] if isinstance(places, str) else list(places)
    found = [run for place in named for run in find_runs(place)]
    for run in found:  # a damaged file is refused before anything is measured
        _ = run.history, run.cfg, run.metrics, run.manifest, run.classes, run.rewound
    subjects = sorted({f"{run.task} with {real_name(run.cfg.model)}" for run in found})
    if len(subjects) > 1:
        raise GoftError(
            f"runs={places}: found runs of {', '.join(subjects)}",
            "a page is about one task and one model, so pass a folder such as outputs/TASK/MODEL",
        )
    return found
