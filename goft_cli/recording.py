"""What a run writes down: what will make its numbers, then the numbers."""

from __future__ import annotations

from collections.abc import Sized
from pathlib import Path
from typing import Any, cast

from goft_cli import report
from goft_cli.config import TrainConfig
from goft_cli.config.model import real_name
from goft_cli.prepare import Job
from goft_cli.runs import manifest
from goft_cli.runs.base_files import describe_base
from goft_cli.runs.configuration import config_sha256
from goft_cli.runs.provenance import adapter_sha256, require_same_ground
from goft_cli.runs.run_folder import FORECAST, RunFolder
from goft_cli.system.files import read_json, write_json
from goft_cli.tasks.benchmark import Scores
from goft_cli.training.evaluation import score_splits
from goft_cli.training.trainer import PenaltyTrainer
from goft_cli.verification import Verification

MEASURED = ("train_seconds", "samples_per_second", "seconds_per_update", "peak_memory_bytes")
"""Keys of `metrics.json` that depend on the machine; the others follow from the configuration."""


def write_manifest(job: Job) -> None:
    """Record what makes the numbers, before they are made."""
    content = {
        "config_sha256": config_sha256(job.cfg),
        "seed": job.cfg.seed,
        "recipe": report.describe_recipe(job.cfg),
        "model": {
            **describe_base(job.cfg.model),
            "path": job.cfg.model.path,
            "fingerprint": job.backbone.fingerprint,
        },
        "data": job.data.describe(job.cfg.task.benchmark_sizes),
        "benchmark": job.benchmark.describe() if job.benchmark else None,
        "environment": manifest.environment(),
    }
    if job.folder.has_results and job.folder.manifest.is_file():
        require_same_ground(read_json(job.folder.manifest), content, job.folder.path)
    write_json(job.folder.manifest, content)


def finish(
    job: Job, trainer: PenaltyTrainer, checked: Verification, benchmark: Scores | None
) -> None:
    """Write predictions, plot and numbers, and show the table; `metrics.json` comes last."""
    report.write_predictions(job.folder, job.task, checked.splits, checked.outputs)
    report.plot_curves(job.folder, trainer.state.log_history, job.cfg.task.headline)
    write_json(job.folder.history, {"logged": trainer.state.log_history})
    adapter = {"adapter": {"sha256": adapter_sha256(job.folder)}}
    write_json(job.folder.manifest, read_json(job.folder.manifest) | adapter)
    metrics = collect_metrics(job, trainer, checked)
    if job.benchmark and benchmark:
        metrics["metrics"][job.benchmark.name] = benchmark.metrics
        metrics["breakdown"] = {job.benchmark.name: benchmark.breakdown}
    write_json(job.folder.metrics, metrics)
    report.show_summary(job.folder, metrics, report.recorded_deviations(job.folder))


def collect_metrics(job: Job, trainer: PenaltyTrainer, checked: Verification) -> dict[str, Any]:
    """Return the content of `metrics.json`."""
    cfg = job.cfg
    scores = score_splits(job.task, checked.outputs, checked.splits)
    headline = scores[cfg.task.headline_split][cfg.task.headline]
    seen = len(cast("Sized", job.encoded.train)) * trainer.state.epoch
    return {
        "task": cfg.task.name,
        "model": real_name(cfg.model),
        "adapter": cfg.adapter.name,
        "seed": cfg.seed,
        "headline": {"name": cfg.task.headline, "value": headline},
        "metrics": scores,
        "trainable_parameters": job.counts.adapter,
        "head_parameters": job.counts.head,
        "train_loss": trainer.totals.loss / trainer.state.global_step,
        "train_seconds": trainer.totals.seconds,
        "samples_per_second": seen / trainer.totals.seconds,
        "seconds_per_update": trainer.totals.seconds / trainer.state.global_step,
        "peak_memory_bytes": manifest.peak_memory_bytes(),
        "best_checkpoint_step": trainer.state.best_global_step,
        "agreement": {
            "reloaded": checked.reloaded_difference,
            "merged": checked.merged_difference,
            "tolerance": checked.tolerance,
        },
        FORECAST: recorded_forecast(cfg),
        "config_sha256": config_sha256(cfg),
    }


def recorded_forecast(cfg: TrainConfig) -> dict[str, float | None] | None:
    """Return what was expected of exactly this run; None if nobody planned it."""
    file = RunFolder(Path(cfg.output_dir)).plan
    if not file.is_file():
        return None
    recorded = read_json(file)
    return recorded[FORECAST] if recorded.get("config_sha256") == config_sha256(cfg) else None
