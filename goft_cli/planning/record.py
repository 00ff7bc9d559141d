"""A plan's numbers in a file beside the run folder, where the run finds them again."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from goft_cli.run.configuration import config_sha256
from goft_cli.run.folder import FORECAST, RunFolder
from goft_cli.system.files import write_json

if TYPE_CHECKING:
    from goft_cli.planning.plan import Plan


def write_plan(plan: Plan) -> Path:
    """Write everything that the plan shows, and return the file."""
    file = RunFolder(Path(plan.cfg.output_dir)).plan
    write_json(file, as_plain(plan))
    return file


def as_plain(plan: Plan) -> dict[str, Any]:
    """Return a plan as dicts, lists and scalars."""
    content = {key: value for key, value in asdict(plan).items() if key != "cfg"}
    content["equivalents"] = {
        adapter: {"words": words, "parameters": count}
        for adapter, (words, count) in plan.equivalents.items()
    }
    return {"config_sha256": config_sha256(plan.cfg), FORECAST: forecast_of(plan), **content}


def forecast_of(plan: Plan) -> dict[str, float | None]:
    """Return the numbers that a run measures, by their names in `metrics.json`."""
    return {
        "trainable_parameters": plan.parameters.adapter,
        "head_parameters": plan.parameters.head,
        "peak_memory_bytes": None if plan.memory is None else plan.memory.peak,
        "train_seconds": plan.train_seconds,
    }
