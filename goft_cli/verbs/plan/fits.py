"""The cheapest settings with which a run fits into a memory: tried, and stated as overrides."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import torch
from transformers import PreTrainedModel

from goft_cli.config import Quantization, TrainConfig
from goft_cli.config.choices import Dtype
from goft_cli.config.model import is_installed
from goft_cli.run.summary import megabytes
from goft_cli.system.errors import GoftError
from goft_cli.system.tables import Table
from goft_cli.tasks.base import TaskData
from goft_cli.tasks.families import build_task
from goft_cli.training.launch_checks import device_of
from goft_cli.verbs.plan.batches import (
    BATCH,
    EVALUATED,
    STEPS,
    at_share,
    fitting_size,
    largest_batches,
    memory_of,
    rows_at_hand,
    sampled_inputs,
)
from goft_cli.verbs.plan.calibration import calibrate, depth_of
from goft_cli.verbs.plan.layers import attached
from goft_cli.verbs.plan.memory import Memory, free_bytes, process_bytes

PERCENTILES = 99, 95, 90
"""Of the lengths of the rows: the values of `task.max_length` to try."""
Settings = Mapping[str, Any]
"""Values by key, such as `trainer.bf16`."""


@dataclass(frozen=True)
class Candidate:
    """Settings that were tried.

    Attributes:
        words: overrides beside those that were typed.
        peak: bytes that the run takes with them at most.
        note: what they cost or ask for.
    """

    words: tuple[str, ...]
    peak: int
    note: str = ""


def room_of(cfg: TrainConfig, fits: int | None) -> int:
    """Return the bytes to fit into: those given, or what is free on the device at hand."""
    return free_bytes(device_of(cfg.trainer)) if fits is None else fits


def candidates(
    cfg: TrainConfig, room: int, *, on_gpu: bool, measuring: bool = False
) -> Iterator[Candidate]:
    """Try settings in the order of what they cost, until some fit, which are the last.

    The batches come first. An evaluation's can be as small as an update's; an update's is divided,
    with as many more steps of accumulation, so that the update stays the same. Then more
    computation, fewer digits, shorter rows, packed weights; each is kept for what comes after it.

    `room` is in bytes; with `on_gpu` the memory is a GPU's, whether there is one here or not. With
    `measuring`, each forecast for a CPU is corrected by a measurement.

    Raises:
        Exception: the model asks for a tensor's values, and cannot be traced.
    """
    data = rows_at_hand(build_task(cfg.task))
    process = 0 if on_gpu else process_bytes()  # once: planning takes memory as well

    def foreseen(settings: Settings) -> Memory:
        changed = with_settings(cfg, settings)
        memory = memory_of(changed, attached(changed, changed.adapter), data)
        if measuring and not on_gpu:
            memory = measured(changed, data, memory)
        fragments = 0 if on_gpu else memory.fragments
        return replace(memory, process=process, fragments=fragments)

    for settings, note in levels(cfg, data, on_gpu=on_gpu):
        memory = foreseen(settings)
        yield Candidate(as_words(settings), memory.peak, note)
        if memory.peak <= room:
            return
        for lower in lower_sizes(cfg, memory, room):
            smaller = {**in_parts(cfg, memory, lower), **settings}
            found = foreseen(smaller).peak  # what is advised is forecast itself, not scaled
            if found <= room or lower == 1:
                yield Candidate(as_words(smaller), found, note)
            if found <= room:
                return


def lower_sizes(cfg: TrainConfig, memory: Memory, room: int) -> Iterator[int]:
    """Yield the sizes of an update's batch to try, the largest that may fit first, and 1 last.

    The whole size is among them if the evaluation alone is too large.
    """
    size, updates = value_of(cfg, BATCH), replace(memory, scored=0)
    lower = size
    if updates.peak <= room and value_of(cfg, EVALUATED) > size:
        yield size
    while lower > 1:
        lower = fitting_size(lower, at_share(updates, lower / size), room)
        yield lower


def in_parts(cfg: TrainConfig, memory: Memory, lower: int) -> dict[str, Any]:
    """Return the settings for batches of at most `lower` rows; `memory` is that of whole ones."""
    size, steps, scored = (value_of(cfg, key) for key in (BATCH, STEPS, EVALUATED))
    found = {} if lower == size else {BATCH: lower, STEPS: steps * size // lower}
    if at_share(memory, lower / size).evaluates:
        found[EVALUATED] = min(scored, lower)
    return found


def measured(cfg: TrainConfig, data: TaskData | None, memory: Memory) -> Memory:
    """Correct a CPU's forecast by a measurement, except for quantized weights and a full memory."""
    if cfg.model.quantization is not None or memory.peak > free_bytes("cpu"):
        return memory
    base = cast("PreTrainedModel", attached(cfg, cfg.adapter).get_base_model())
    batches, _ = largest_batches(cfg, build_task(cfg.task), data, base)
    found = calibrate(cfg, batches, "cpu", depth_of(base))
    return memory.corrected(*found.growth) if found else memory


def levels(
    cfg: TrainConfig, data: TaskData | None, *, on_gpu: bool
) -> Iterator[tuple[dict[str, Any], str]]:
    """Yield settings beside the batch, each with those before it, and what to know of them."""
    settings: dict[str, Any] = {}
    yield {}, ""
    if not cfg.trainer.gradient_checkpointing:
        settings |= {"trainer.gradient_checkpointing": True}
        yield {**settings}, "activations are computed twice"
    if not cfg.trainer.fp16 and not cfg.trainer.bf16 and has_bf16(on_gpu=on_gpu):
        settings |= {"trainer.bf16": True}
        if cfg.model.dtype is Dtype.float32:
            settings |= {"model.dtype": Dtype.bfloat16}
        yield {**settings}, "fewer digits"
    for length, share in shorter(cfg, data):
        settings |= {"task.max_length": length}
        yield {**settings}, f"cuts {share:.1%} of the rows"
    if cfg.model.quantization is None and cfg.adapter.takes_packed:
        needs = "" if is_installed("bitsandbytes") else ", needs bitsandbytes"
        for packed in (Quantization["8bit"], Quantization["4bit"]):
            settings |= {"model.quantization": packed}
            yield {**settings}, f"rounds the frozen weights{needs}"


def has_bf16(*, on_gpu: bool) -> bool:
    """Tell whether the device computes in bfloat16; of a GPU elsewhere, that is expected."""
    return not (on_gpu and torch.cuda.is_available()) or torch.cuda.is_bf16_supported()


def shorter(cfg: TrainConfig, data: TaskData | None) -> Iterator[tuple[int, float]]:
    """Yield falling values of `task.max_length`, and the share of the rows that each cuts.

    None for images, nor where a longer row is not cut but goes into several inputs, or with others
    into one, nor for rows that are not at hand.
    """
    task: Any = cfg.task
    apart = getattr(task, "packing", False) or hasattr(task, "doc_stride")
    if data is None or apart or not hasattr(task, "max_length"):
        return
    sizes = sampled_inputs(cfg, data).lengths
    before = int(sizes.max())
    for percentile in PERCENTILES:
        length = int(np.percentile(sizes, percentile, method="higher"))
        if length < before:
            before = length
            yield length, float((sizes > length).mean())


def with_settings(cfg: TrainConfig, settings: Settings) -> TrainConfig:
    """Return a run's configuration with other values of some keys."""
    for key, value in settings.items():
        section, _, name = key.partition(".")
        cfg = replace(cfg, **{section: replace(getattr(cfg, section), **{name: value})})
    return cfg


def value_of(cfg: TrainConfig, key: str) -> int:
    """Return the value of a key of a section."""
    section, _, name = key.partition(".")
    return getattr(getattr(cfg, section), name)


def as_words(settings: Settings) -> tuple[str, ...]:
    """Write settings as they are typed."""
    plain = {key: getattr(value, "value", value) for key, value in settings.items()}
    return tuple(f"{key}={value}".replace("True", "true") for key, value in plain.items())


def table_of(tried: list[Candidate], room: int) -> Table:
    """Lay out what was tried."""
    rows = [[" ".join(one.words) or "as given", megabytes(one.peak), one.note] for one in tried]
    return Table(["settings", "peak", ""], rows, f"to fit {megabytes(room)}", "lrl")


def too_large(tried: list[Candidate], room: int) -> GoftError:
    """Return the refusal where nothing fits."""
    least = min(reversed(tried), key=lambda one: one.peak)
    words = " ".join(least.words) or "the settings as given"
    return GoftError(
        f"fits={megabytes(room)}: the smallest settings that were tried take "
        f"{megabytes(least.peak)} ({words})",
        "choose a smaller model, or a device with more memory",
    )
