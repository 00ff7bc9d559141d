"""`run` is the whole program: config, model and adapter, data, training, evaluation, report."""

from __future__ import annotations

import logging
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel, set_seed

from goft_cli import report
from goft_cli.adapters import attach_adapter, count_parameters, heeding_peft
from goft_cli.backbone import Backbone, load_backbone
from goft_cli.benchmarks.benchmarking import LoadedBenchmark, load_benchmark, require_kind
from goft_cli.config import TrainConfig
from goft_cli.job import Job
from goft_cli.launching import sharding
from goft_cli.launching.ranks import join, leave, open_together, wait
from goft_cli.logs import logging_to, silent
from goft_cli.planning.smaller import heeding_memory
from goft_cli.progress import console
from goft_cli.recording import finish, write_manifest
from goft_cli.runs.base_files import hash_ahead
from goft_cli.runs.provenance import check_ground
from goft_cli.runs.run_folder import RunFolder
from goft_cli.tasks import Scores, build_benchmark, build_task
from goft_cli.tasks.base import Split, Task, TaskData
from goft_cli.training.checkpoints import newest_complete
from goft_cli.training.presence import StopWithoutFolder
from goft_cli.training.schedules import EPOCH_RATES
from goft_cli.training.tracking import tracking
from goft_cli.training.trainer import (
    EncodedData,
    PenaltyTrainer,
    build_trainer,
    fit,
    training_arguments,
    update_count,
)
from goft_cli.verification import verify

logger = logging.getLogger(__name__)


def run(cfg: TrainConfig, *, held: bool = False) -> Path:
    """Fine-tune, keep the best checkpoint, save, rebuild, merge, score; return the run folder.

    Args:
        cfg: the run.
        held: whether the process that started this one keeps other starts of the run out.

    Raises:
        GoftError: bad input, data or base weights that are not those of the run so far, a
            diverging loss, a rebuilt model that is not the trained one, or another start of the
            run that is at work.
    """
    speaks = join(cfg)
    with open_together(cfg, speaks=speaks, held=held) as folder:
        gone = check_ground(cfg) if speaks else []
        if not folder.finished:
            work(cfg, folder, speaks=speaks)
            leave()
        elif speaks:
            report.show_finished(folder, [change.name for change in gone])
    return folder.path


def work(cfg: TrainConfig, folder: RunFolder, *, speaks: bool) -> None:
    """Do all that a run does in a folder of its own."""
    logs = logging_to(folder.log, console) if speaks else silent()
    curves = tracking(cfg.tracker, folder) if speaks else nullcontext()
    with logs, curves:
        job = prepare(cfg, folder, speaks=speaks)
        with heeding_memory(cfg, job.model):
            trainer = train(job)
            checked = verify(job, trainer)
        if speaks:
            scores = score_benchmark(job, checked.merged)
            folder.check_there()
            finish(job, trainer, checked, scores)


def prepare(cfg: TrainConfig, folder: RunFolder, *, speaks: bool) -> Job:
    """Load data and model, put the adapter on, and record what will make the numbers."""
    set_seed(cfg.seed)
    hashing = hash_ahead(cfg.model) if speaks else None
    task = build_task(cfg.task)
    arguments = training_arguments(cfg, folder, task)
    sharding.check_deepspeed(cfg, arguments)
    benchmark = prepare_benchmark(cfg, task)
    data = task.load()
    task = task.respelled(data.provenance)
    report.announce(cfg, task.size_deviations(data))
    backbone = load_backbone(cfg.model, task)
    task.check_model(backbone.model)
    if benchmark:
        benchmark.check_model(backbone.model, backbone.processor)
    rows, head = len(data.splits[cfg.task.train_split]), cfg.model.head_modules
    updates = update_count(rows, cfg.trainer, arguments.world_size)
    model = attach_adapter(backbone, cfg.adapter, head, task.auto_class, updates)
    encoded = encode(task, data, backbone)
    counts = count_parameters(model, head)
    job = Job(
        cfg, folder, task, data, encoded, arguments, backbone, model, counts, benchmark, speaks
    )
    if hashing:
        hashing.join()
        folder.check_there()
        write_manifest(job)
    return job


def prepare_benchmark(cfg: TrainConfig, task: Task[Any, Any]) -> LoadedBenchmark | None:
    """Read the questions of the benchmark to score after the training, if there is one."""
    if cfg.benchmark is None:
        return None
    benchmark = build_benchmark(cfg.benchmark)
    require_kind(benchmark, task.auto_class, f"the model of task {task.config.name}")
    return load_benchmark(benchmark)


def encode(task: Task[Any, Any], data: TaskData, backbone: Backbone) -> EncodedData:
    """Make model inputs of the training split and the evaluation splits."""
    splits = {
        name: Split(rows, task.encode(rows, backbone.processor))
        for name, rows in data.splits.items()
    }
    return EncodedData(
        train=splits[task.config.train_split].inputs,
        evaluation={name: splits[name] for name in task.config.eval_splits},
        collate=task.collate(backbone.processor),
    )


def train(job: Job) -> PenaltyTrainer:
    """Train from the newest whole checkpoint, or from the start, and save the best adapter."""
    rate = EPOCH_RATES.get(job.cfg.trainer.lr_scheduler_type.value)
    trainer = build_trainer(
        job.model, job.task, job.encoded, job.backbone.processor, job.arguments, rate
    )
    trainer.add_callback(StopWithoutFolder(job.folder))
    checkpoint = newest_complete(job.folder.checkpoints)
    if checkpoint is not None:
        sharding.check_same_engine(checkpoint)
        logger.info("resuming from %s", checkpoint.name)
    with sharding.unpickling_nothing(), heeding_peft():
        fit(trainer, checkpoint)
    state = sharding.whole_state(job.model)
    if job.speaks:
        job.folder.check_there()
        with heeding_peft():
            job.model.save_pretrained(str(job.folder.adapter), state_dict=state)
        job.backbone.processor.save_pretrained(str(job.folder.adapter))
    wait()
    return trainer


def score_benchmark(job: Job, merged: PreTrainedModel) -> Scores | None:
    """Score the benchmark, if there is one, on the merged model."""
    if job.benchmark is None:
        return None
    batch_size = job.cfg.trainer.per_device_eval_batch_size
    return job.benchmark.score(merged, job.backbone.processor, job.folder.path, batch_size)
