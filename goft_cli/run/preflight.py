"""Checks that cost nothing, made before anything expensive is imported or loaded."""

from __future__ import annotations

import netrc
import os
import re
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

from goft_cli.config import (
    ImageClassificationConfig,
    InstructionConfig,
    ModelConfig,
    TaskConfig,
    TextClassificationConfig,
    TokenClassificationConfig,
    TrackerConfig,
    TrackerName,
    TrainConfig,
    TrainerConfig,
)
from goft_cli.config.benchmarks import LmEvalConfig
from goft_cli.config.choices import Sampling
from goft_cli.config.model import check_tokenizer, require_bitsandbytes
from goft_cli.data import dataset_files
from goft_cli.run.second_stage import check_first_stage
from goft_cli.system import kept
from goft_cli.system.errors import GoftError
from goft_cli.system.locations import check_folder, check_writable, model_location
from goft_cli.tasks import metrics
from goft_cli.training.trackers import SERVICES, has_key, needs_network

OPTIMIZERS = (
    ("adamw_torch_xla", "torch-xla"),
    ("adamw_torch_npu_fused", "torch-npu"),
    ("adamw_torch_[48]bit", "torchao"),
    ("adamw_anyprecision", "torchdistx"),
    ("galore.*", "galore-torch"),
    ("apollo.*", "apollo-torch"),
    ("lomo|adalomo", "lomo-optim"),
    ("grokadamw", "grokadamw"),
    ("schedule_free.*", "schedulefree"),
    ("stable_adamw", "torch-optimi"),
    (".*(8bit|bnb|lion|ademamix|paged).*", "bitsandbytes"),
)
"""Patterns of optimizer names, and the package that each needs; the first match counts."""


def check_inputs(cfg: TrainConfig) -> None:
    """Check the folders a run reads and writes."""
    tasks = {"task": cfg.task} | ({"benchmark": cfg.benchmark} if cfg.benchmark else {})
    model_location(cfg.model.path)
    check_quantization(cfg)
    for key, task in tasks.items():
        check_data_dir(task, key)
    if isinstance(cfg.task, ImageClassificationConfig):
        check_images(cfg.task)
    for check in settings_checks(cfg).values():
        check()
    check_tracker(cfg.tracker)
    check_writable(Path(cfg.output_dir))
    kept.limit()
    check_tokenizer(cfg.model)
    check_model(cfg.model)
    for key, task in tasks.items():
        check_dataset(task, key)


def settings_checks(cfg: TrainConfig) -> dict[str, Callable[[], None]]:
    """Return the checks that read neither model nor rows, by the setting that each is about."""
    return {
        "metrics": partial(check_metrics, cfg.task),
        "order of rows": partial(check_order, cfg),
        "init_adapter": partial(check_first_stage, cfg),
        "optimizer": partial(check_optimizer, cfg.trainer),
        "label smoothing": partial(check_smoothing, cfg),
    }


def check_benchmark(task: TaskConfig, model: ModelConfig | None) -> None:
    """Check the questions of a benchmark, and the plain model to score on them if there is one."""
    check_data_dir(task, "task")
    if model is not None:
        check_tokenizer(model)
        check_model(model)
    check_dataset(task, "task")


def check_metrics(task: TaskConfig) -> None:
    """Refuse metrics that do not exist, or do not fit what the task predicts."""
    if isinstance(
        task, TextClassificationConfig | ImageClassificationConfig | TokenClassificationConfig
    ):
        metrics.check_names(task.metrics, headline=task.headline, target=task.target)


def check_data_dir(task: TaskConfig, key: str) -> None:
    """Refuse a task's folder of local data that is missing or empty; `key` is the task's key."""
    if task.data_dir is not None and task.own is None:  # own data has been read to compose
        check_folder(task.data_dir, key=f"{key}.data_dir", content="data files")


def check_model(model: ModelConfig) -> None:
    """Refuse a hub id that is neither cached nor downloadable, and a path without a model."""
    if isinstance(model_location(model.path), str):
        dataset_files.check_model(model)


def check_dataset(task: TaskConfig, key: str) -> None:
    """Refuse hub data that is neither cached nor downloadable, and lm-eval if not installed."""
    if isinstance(task, LmEvalConfig):
        check_lm_eval(task, key)
    if task.remote_dataset and task.own is None:  # own data has been read to compose
        dataset_files.check_dataset(task.remote_dataset, task.splits, key)


def check_lm_eval(task: LmEvalConfig, key: str) -> None:
    """Refuse a benchmark of lm-eval without tasks, or without its package."""
    if not task.tasks:
        raise GoftError(
            f"{key}=lm_eval: found no tasks", "pass tasks=[hellaswag,arc_easy], or tasks=FILE.yaml"
        )
    if find_spec("lm_eval") is None:
        raise GoftError(
            f"{key}=lm_eval: the package lm-eval is not installed",
            "run pip install 'goft-cli[lm-eval]'",
        )


def check_images(task: ImageClassificationConfig) -> None:
    """Refuse an image task without images."""
    if task.data_dir is None and task.generator is None:
        raise GoftError(
            f"task={task.name}: the hub does not have its images",
            f"pass task.data_dir=DIR with one list per split ({task.train_split}.txt, ...) of "
            "lines such as images/000000.jpg 3",
        )


def check_order(cfg: TrainConfig) -> None:
    """Refuse to sort images by length, or to count their tokens."""
    trainer = cfg.trainer
    if not isinstance(cfg.task, ImageClassificationConfig):
        return
    if trainer.max_tokens_per_batch is not None:
        raise GoftError(
            f"trainer.max_tokens_per_batch={trainer.max_tokens_per_batch}: images of a task "
            "have one size and no tokens",
            "pass a smaller trainer.per_device_train_batch_size, and more of "
            "trainer.gradient_accumulation_steps",
        )
    if trainer.train_sampling_strategy is Sampling.group_by_length:
        raise GoftError(
            "trainer.train_sampling_strategy=group_by_length: images of a task have one "
            "size, so batches have no padding",
            "pass trainer.train_sampling_strategy=random",
        )


def check_optimizer(trainer: TrainerConfig) -> None:
    """Refuse an optimizer whose package is missing, or that needs layers and has none named."""
    name = trainer.optim.value
    found = (package for names, package in OPTIMIZERS if re.fullmatch(names, name))
    package = next(found, None)
    module = "optimi" if package == "torch-optimi" else (package or "").replace("-", "_")
    if package and find_spec(module) is None:
        raise GoftError(
            f"trainer.optim={name}: its package is not installed",
            f"run pip install {package}, or pass trainer.optim=adamw_torch",
        )
    if name.startswith(("galore", "apollo")) and not trainer.extra.get("optim_target_modules"):
        raise GoftError(
            f"trainer.optim={name}: it needs the layers whose weights it projects",
            "pass 'trainer.extra={optim_target_modules: all-linear}', or the names of layers",
        )


def check_smoothing(cfg: TrainConfig) -> None:
    """Refuse label smoothing without classes, as in regression and question answering."""
    task, factor = cfg.task, cfg.trainer.label_smoothing_factor
    classes = isinstance(task, ImageClassificationConfig | InstructionConfig)
    sets = isinstance(task, TextClassificationConfig) and task.multi_label
    if factor and (sets or not (classes or getattr(task, "labels", None))):
        raise GoftError(
            f"trainer.label_smoothing_factor={factor}: rows of task {task.name} do not have "
            "one class each to smooth",
            "leave it out",
        )


def check_tracker(tracker: TrackerConfig) -> None:
    """Refuse a tracker that lacks its package or its API key, before anything is loaded."""
    if tracker.name is TrackerName.none:
        return
    service, name = SERVICES[tracker.name], tracker.name.name
    if find_spec(tracker.name.value) is None:
        raise GoftError(
            f"tracker={name}: its package is not installed",
            f"run pip install {service.package}, or pass tracker=none",
        )
    is_known = wandb_key() if tracker.name is TrackerName.wandb else has_key(service)
    if needs_network(tracker) and not is_known:
        raise GoftError(
            f"tracker={name}: no API key found",
            f"run {service.login}, set {service.key}, or pass tracker.mode=offline",
        )


def check_quantization(cfg: TrainConfig) -> None:
    """Refuse quantized weights without bitsandbytes, or with an adapter that needs plain ones."""
    if cfg.model.quantization is None:
        return
    words = f"model.quantization={cfg.model.quantization.value}"
    require_bitsandbytes(words)
    if not cfg.adapter.takes_packed:
        raise GoftError(
            f"{words}: adapter={cfg.adapter.name} needs plain weights",
            "choose another adapter, such as adapter=qgoft or adapter=lora, or leave the "
            "quantization out",
        )


def wandb_key() -> bool:
    """Tell whether wandb would find a key in the environment or in netrc; never return it."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    host = urlsplit(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).hostname or ""
    try:
        return netrc.netrc().authenticators(host) is not None
    except (OSError, netrc.NetrcParseError):
        return False
