"""Checks that cost nothing, made before anything expensive is imported or loaded."""

from __future__ import annotations

import netrc
import os
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

from goft_cli.config import (
    BenchmarkConfig,
    ImageClassificationConfig,
    ModelConfig,
    TaskConfig,
    TextClassificationConfig,
    TrackerConfig,
    TrackerName,
    TrainConfig,
    TrainerConfig,
    WandbMode,
)
from goft_cli.config.choices import Sampling
from goft_cli.config.model import check_tokenizer, require_bitsandbytes
from goft_cli.data import dataset_files
from goft_cli.system import kept
from goft_cli.system.errors import GoftError
from goft_cli.system.locations import check_folder, check_writable, model_location
from goft_cli.tasks import metrics


def check_inputs(cfg: TrainConfig) -> None:
    """Check the folders a run reads and writes."""
    tasks = {"task": cfg.task} | ({"benchmark": cfg.benchmark} if cfg.benchmark else {})
    model_location(cfg.model.path)
    check_quantization(cfg)
    for key, task in tasks.items():
        check_data_dir(task, key)
    if isinstance(cfg.task, TextClassificationConfig):
        metrics.check_names(
            cfg.task.metrics, headline=cfg.task.headline, classes=len(cfg.task.labels)
        )
    if isinstance(cfg.task, ImageClassificationConfig):
        check_images(cfg.task)
        check_order(cfg.trainer)
    check_tracker(cfg.tracker)
    check_writable(Path(cfg.output_dir))
    kept.limit()
    check_tokenizer(cfg.model)
    check_model(cfg.model)
    for key, task in tasks.items():
        check_dataset(task, key)


def check_benchmark(task: TaskConfig, model: ModelConfig | None) -> None:
    """Check the questions of a benchmark, and the plain model to score on them if there is one."""
    if not isinstance(task, BenchmarkConfig):
        raise GoftError(
            f"task {task.name} is no benchmark but a task to train on",
            "score a trained run with goft eval adapter=RUN_FOLDER, or choose a benchmark such as "
            "task=mmlu/full",
        )
    check_data_dir(task, "task")
    if model is not None:
        check_tokenizer(model)
        check_model(model)
    check_dataset(task, "task")


def check_data_dir(task: TaskConfig, key: str) -> None:
    """Refuse a folder of local data, the task's own below `key`, that is missing or empty."""
    if task.data_dir is not None and task.own is None:  # own data has been read to compose
        check_folder(task.data_dir, key=f"{key}.data_dir", content="data files")


def check_model(model: ModelConfig) -> None:
    """Refuse a hub id that is neither cached nor to be downloaded, and a path without a model."""
    if isinstance(model_location(model.path), str):
        dataset_files.check_model(model)


def check_dataset(task: TaskConfig, key: str) -> None:
    """Refuse hub data that is neither cached nor to be downloaded."""
    if task.remote_dataset and task.own is None:  # own data has been read to compose
        dataset_files.check_dataset(task.remote_dataset, task.splits, key)


def check_images(task: ImageClassificationConfig) -> None:
    """Refuse an image task without images."""
    if task.data_dir is None and task.generator is None:
        raise GoftError(
            f"task={task.name}: its images are on no hub",
            f"pass task.data_dir=DIR with one list per split ({task.train_split}.txt, ...) of "
            "lines such as images/000000.jpg 3",
        )


def check_order(trainer: TrainerConfig) -> None:
    """Refuse to sort images by length."""
    if trainer.train_sampling_strategy is Sampling.group_by_length:
        raise GoftError(
            "trainer.train_sampling_strategy=group_by_length: images have one size each, so there "
            "is no padding to save",
            "pass trainer.train_sampling_strategy=random",
        )


def check_tracker(tracker: TrackerConfig) -> None:
    """Refuse a tracker that would stop the training only after everything is loaded."""
    if tracker.name is TrackerName.none:
        return
    if find_spec(tracker.name.value) is None:
        raise GoftError(
            f"tracker={tracker.name.value}: its package is not installed",
            f"run pip install {tracker.name.value}, or pass tracker=none",
        )
    online = tracker.mode is WandbMode.online and os.environ.get("WANDB_MODE", "online") == "online"
    if tracker.name is TrackerName.wandb and online and not wandb_key():
        raise GoftError(
            "tracker=wandb: no API key found",
            "run wandb login, set WANDB_API_KEY, or pass tracker.mode=offline",
        )


def check_quantization(cfg: TrainConfig) -> None:
    """Refuse packed weights without bitsandbytes, or below an adapter that needs them plain."""
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
    """Tell whether wandb would find a key in the environment or in netrc; never read it out."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    host = urlsplit(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).hostname or ""
    try:
        return netrc.netrc().authenticators(host) is not None
    except (OSError, netrc.NetrcParseError):
        return False
