"""`run` is the whole program: config, model and adapter, data, training, evaluation, report."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import torch
from transformers import PreTrainedModel

from goft_cli.config import TrainConfig
from goft_cli.models.adapters import filtered_peft_warnings
from goft_cli.run import summary
from goft_cli.run.folder import RunFolder
from goft_cli.run.launch import join_processes, leave_processes, open_together, wait_for_all
from goft_cli.run.manifest import hash_ahead
from goft_cli.run.outcome import finish, verify, write_manifest
from goft_cli.run.prepare import Job, prepare
from goft_cli.run.provenance import check_sources
from goft_cli.system.errors import OutOfMemoryError, is_out_of_memory
from goft_cli.system.screen import console, logging_to, silent
from goft_cli.tasks.benchmark import Scores
from goft_cli.training import sharding
from goft_cli.training.callbacks import EPOCH_RATES, StopWithoutFolder, early_stopping
from goft_cli.training.checkpoints import newest_complete
from goft_cli.training.trackers import tracking
from goft_cli.training.trainer import PenaltyTrainer, build_trainer, fit

logger = logging.getLogger(__name__)


@torch.inference_mode(False)  # a script may have switched gradients off
def run(cfg: TrainConfig, *, held: bool = False) -> Path:
    """Fine-tune, keep the best checkpoint, save, rebuild, merge, score; return the run folder.

    `held`: the process that started this one holds the run's lock.
    """
    is_main = join_processes(cfg)
    with open_together(cfg, is_main=is_main, held=held) as folder:
        gone = check_sources(cfg) if is_main else []
        if not folder.finished:
            work(cfg, folder, is_main=is_main)
            leave_processes()
        elif is_main:
            summary.show_finished(folder, [change.name for change in gone])
    return folder.path


def work(cfg: TrainConfig, folder: RunFolder, *, is_main: bool) -> None:
    """Train, verify and score a run in its folder."""
    logs = logging_to(folder.log, console) if is_main else silent()
    curves = tracking(cfg.tracker, folder.path) if is_main else nullcontext()
    with logs, curves:
        hashing = hash_ahead(cfg.model) if is_main else None
        job = prepare(cfg, folder, is_main=is_main)
        if hashing:
            hashing.join()
            folder.check_there()
            write_manifest(job)
            folder.settle()
        with memory_errors(job.model):
            trainer = train(job)
            checked = verify(job, trainer)
        if is_main:
            scores = score_benchmark(job, checked.merged)
            folder.check_there()
            finish(job, trainer, checked, scores)


@contextmanager
def memory_errors(model: torch.nn.Module) -> Iterator[None]:
    """Turn an out-of-memory error of any library into an OutOfMemoryError."""
    try:
        yield
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        # a model is in training mode during an update
        raise OutOfMemoryError(updating=model.training) from error


def train(job: Job) -> PenaltyTrainer:
    """Train from the newest whole checkpoint, or from the start, and save the best adapter."""
    trainer = build_trainer(
        job.model,
        job.task,
        job.encoded,
        job.backbone.processor,
        job.arguments,
        rate=EPOCH_RATES.get(job.cfg.trainer.lr_scheduler_type.value),
        stopping=early_stopping(job.cfg.trainer),
        most_tokens=job.cfg.trainer.max_tokens_per_batch,
    )
    trainer.add_callback(StopWithoutFolder(job.folder.check_there))
    checkpoint = newest_complete(job.folder.checkpoints)
    if checkpoint is not None:
        sharding.check_same_backend(checkpoint)
        logger.info("resuming from %s", checkpoint.name)
    with sharding.unpickling_nothing(), filtered_peft_warnings():
        fit(trainer, checkpoint)
    state = sharding.whole_state(job.model)
    if job.is_main:
        job.folder.check_there()
        with filtered_peft_warnings():
            job.model.save_pretrained(str(job.folder.adapter), state_dict=state)
        job.backbone.processor.save_pretrained(str(job.folder.adapter))
    wait_for_all()
    return trainer


def score_benchmark(job: Job, merged: PreTrainedModel) -> Scores | None:
    """Score the benchmark, if there is one, on the merged model."""
    if job.benchmark is None:
        return None
    batch_size = job.cfg.trainer.per_device_eval_batch_size
    return job.benchmark.score(merged, job.backbone.processor, job.folder.path, batch_size)
