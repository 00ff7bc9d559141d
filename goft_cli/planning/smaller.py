"""What a run that is out of memory should lower, by the numbers of `goft plan`."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import psutil
import torch
from transformers import PreTrainedModel

from goft_cli.config import TrainConfig
from goft_cli.planning.inputs import largest_batch, rows_at_hand
from goft_cli.planning.memory import Memory, forecast_memory
from goft_cli.run.summary import megabytes
from goft_cli.studies.budget import attached
from goft_cli.system.errors import GoftError
from goft_cli.tasks.families import build_task

BATCH = "trainer.per_device_train_batch_size"
STEPS = "trainer.gradient_accumulation_steps"
EVALUATED = "trainer.per_device_eval_batch_size"
OTHERWISE = "end other programs that hold memory, or choose a smaller model"


def advice(cfg: TrainConfig, *, updating: bool) -> GoftError:
    """Return the refusal of a training, or its evaluation, that ran out of memory."""
    return smaller_update(cfg) if updating else smaller_evaluation(cfg)


def smaller_evaluation(cfg: TrainConfig) -> GoftError:
    """Return the refusal for an evaluation that does not fit."""
    size = cfg.trainer.per_device_eval_batch_size
    way = f"pass {EVALUATED}={size // 2}" if size > 1 else OTHERWISE
    return GoftError(f"{EVALUATED}={size}: the evaluation ran out of memory", way)


def smaller_update(cfg: TrainConfig) -> GoftError:
    """Return the refusal for an update that does not fit; the examples of one stay as many."""
    size, steps = cfg.trainer.per_device_train_batch_size, cfg.trainer.gradient_accumulation_steps
    memory, room = forecast(cfg), total_bytes(cfg)
    expected = f" (goft plan: {megabytes(memory.peak)} of {megabytes(room)})" if memory else ""
    begin = f"{BATCH}={size}: the training ran out of memory{expected}"
    if size == 1:
        return GoftError(begin, OTHERWISE)
    lower = fitting_size(size, memory, room)
    return GoftError(
        begin,
        f"pass {BATCH}={lower} {STEPS}={steps * size // lower}, which keeps {steps * size} "
        "examples in an update of each process",
    )


def fitting_size(size: int, memory: Memory | None, room: int) -> int:
    """Return the largest part of a batch that the forecast says has room; 1 where none has.

    Args:
        size: of the batch that did not fit, above 1.
        memory: forecast for that batch; None takes the largest part there is.
        room: bytes.
    """
    parts = [part for part in range(size - 1, 0, -1) if size % part == 0]
    fitting = (part for part in parts if memory is None or at(memory, part / size).peak <= room)
    return next(fitting, 1)


def at(memory: Memory, share: float) -> Memory:
    """Return the forecast for a share of the batch: the activations are of its examples."""
    activations, fragments = round(memory.activations * share), round(memory.fragments * share)
    return replace(memory, activations=activations, fragments=fragments)


def forecast(cfg: TrainConfig) -> Memory | None:
    """Forecast the memory as `goft plan` does; None where that is not possible."""
    try:
        task, model = build_task(cfg.task), attached(cfg, cfg.adapter)
        base = cast("PreTrainedModel", model.get_base_model())
        batch, _ = largest_batch(cfg, task, rows_at_hand(task), base)
        return forecast_memory(model, batch, cfg, device(cfg))
    except Exception:  # any line of a model may ask a tensor for its values, or lack memory, too
        return None


def device(cfg: TrainConfig) -> str:
    """Name where the run trains, as the forecast tells devices apart."""
    return "cuda" if torch.cuda.is_available() and not cfg.trainer.use_cpu else "cpu"


def total_bytes(cfg: TrainConfig) -> int:
    """Return the memory of one process: that of its GPU, or its share of the machine's."""
    if device(cfg) == "cuda":
        return torch.cuda.mem_get_info()[1]
    return psutil.virtual_memory().total // cfg.launcher.num_processes
