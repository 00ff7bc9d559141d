"""Checks of what a run reads: hub, model, data, tracker; and all of it with the network cut."""

from __future__ import annotations

import shlex
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

from huggingface_hub import constants, get_token

from goft_cli.compose.recomposition import words_of_groups
from goft_cli.config import (
    ImageClassificationConfig,
    ModelConfig,
    TaskConfig,
    TrackerConfig,
    TrainConfig,
)
from goft_cli.config.model import check_tokenizer
from goft_cli.data.model_files import is_cached
from goft_cli.models.adapters import count_adapted_layers
from goft_cli.models.backbone import empty_model, load_backbone
from goft_cli.run.preflight import (
    check_data_dir,
    check_dataset,
    check_images,
    check_model,
    check_quantization,
    check_tracker,
    settings_checks,
)
from goft_cli.system import hub
from goft_cli.system.errors import GoftError
from goft_cli.system.locations import model_location
from goft_cli.system.screen import quiet_libraries
from goft_cli.system.tables import Finding, Verdict, refused
from goft_cli.tasks.families import build_benchmark, build_task
from goft_cli.training.launch_checks import check_launch
from goft_cli.training.trackers import needs_network
from goft_cli.verbs.plan.layers import attached, counted


def examine_hub() -> Finding:
    """See whether the hub answers; the inputs show whether the run needs it."""
    reason = hub.away("model")
    if reason:
        remedy = "unset HF_HUB_OFFLINE, check the connection and HF_ENDPOINT, or use goft fetch"
        return Finding("hub", Verdict.note, reason, remedy)
    login = "logged in" if get_token() else "not logged in; hf auth login for gated models"
    return Finding("hub", Verdict.ok, f"{constants.ENDPOINT} answers, {login}")


def examine_inputs(cfg: TrainConfig) -> list[Finding]:
    """See whether model and data are local, cached, or to be downloaded."""
    findings = [checked("model", cfg.model.path, lambda: check_model(cfg.model))]
    for key, task in {"task": cfg.task, "benchmark": cfg.benchmark}.items():
        if task is not None:
            findings.append(checked(key, task.name, partial(check_task, task, key)))
    return findings


def check_task(task: TaskConfig, key: str) -> None:
    """Refuse a task whose rows are neither on disk nor downloadable."""
    check_data_dir(task, key)
    if isinstance(task, ImageClassificationConfig):
        check_images(task)
    check_dataset(task, key)


def checked(subject: str, found: str, check: Callable[[], None]) -> Finding:
    """Turn a check that raises into a finding."""
    try:
        check()
    except GoftError as error:
        return refused(subject, error)
    return Finding(subject, Verdict.ok, found)


def examine_settings(cfg: TrainConfig) -> list[Finding]:
    """See whether the settings fit the task and the installed packages."""
    checks = {**settings_checks(cfg), "launcher": partial(check_launch, cfg)}
    found = [checked(subject, "", check) for subject, check in checks.items()]
    failed = [one for one in found if one.verdict is Verdict.fail]
    return failed or [Finding("settings", Verdict.ok, ", ".join(checks))]


def examine_packing(cfg: TrainConfig) -> Finding:
    """See whether quantized weights are possible on this machine, if they are asked for."""
    wanted = cfg.model.quantization
    found = "none" if wanted is None else wanted.value
    return checked("quantization", found, lambda: check_quantization(cfg))


def examine_tokenizer(model: ModelConfig) -> Finding:
    """See whether the tokenizer can be read: DeBERTaV3's needs sentencepiece and protobuf."""
    found = ", ".join(model.requires) or "needs no further package"
    return checked("tokenizer", found, lambda: check_tokenizer(model))


def examine_adapter(cfg: TrainConfig) -> list[Finding]:
    """Attach the adapter to a model without weights, if the model's configuration is on disk.

    Where the model is, and its task, are findings of other checks.
    """
    try:
        if isinstance(model_location(cfg.model.path), str) and not is_cached(cfg.model):
            return []
        task = build_task(cfg.task)
    except GoftError:
        return []
    try:
        empty_model(cfg.model, task)
    except GoftError as error:
        return [refused("configuration", error)]
    try:
        with quiet_libraries():
            model = attached(cfg, cfg.adapter)
    except GoftError as error:
        return [refused("adapter", error)]
    found = f"{counted(cfg, model).adapter:,} parameters on {count_adapted_layers(model)} layers"
    return [Finding("adapter", Verdict.ok, found)]


def examine_tracker(tracker: TrackerConfig, *, offline: bool) -> Finding:
    """See whether the tracker is installed and logged in, and can work offline if it has to."""
    if offline and needs_network(tracker):
        found = f"{tracker.name.name} in online mode needs the network"
        return Finding("tracker", Verdict.fail, found, "pass tracker.mode=offline")
    return checked("tracker", tracker.name.name, lambda: check_tracker(tracker))


def examine_offline(cfg: TrainConfig) -> Finding:
    """Load everything that the run reads, with the network cut."""
    try:
        with quiet_libraries(), network_cut():
            rows = load_everything(cfg)
    except GoftError as error:
        found = refused("unplugged", error)
        words = words_of_groups("task", "model")
        fetch = shlex.join(["goft", "fetch", *words, "output_dir=DIR"])
        return replace(found, remedy=f"{found.remedy}; or, on a machine with network, {fetch}")
    found = f"model and {rows:,} rows loaded with the network cut"
    return Finding("unplugged", Verdict.ok, found)


def load_everything(cfg: TrainConfig) -> int:
    """Load data and model and make inputs of a row of each split; return the number of rows."""
    task = build_task(cfg.task)
    data = task.load()
    backbone = load_backbone(cfg.model, task)
    for rows in data.splits.values():
        task.encode(rows.select(range(1)), backbone.processor)
    if cfg.benchmark is not None:
        build_benchmark(cfg.benchmark).load()
    return sum(len(rows) for rows in data.splits.values())


@contextmanager
def network_cut() -> Iterator[None]:
    """Refuse every connection of this process but those to Unix sockets."""
    connect = socket.socket.connect

    def refuse(self: socket.socket, address: object) -> None:
        if self.family in {socket.AF_INET, socket.AF_INET6}:
            raise OSError(f"the network is cut, and something asks for {address}")
        connect(self, address)  # pyright: ignore[reportArgumentType] - passed on

    hub.go_offline()
    setattr(socket.socket, "connect", refuse)  # noqa: B010 - it is no attribute to assign
    try:
        yield
    finally:
        setattr(socket.socket, "connect", connect)  # noqa: B010
