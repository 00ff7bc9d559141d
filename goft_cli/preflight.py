"""Checks that cost nothing, made before anything expensive is imported or loaded."""

from __future__ import annotations

import netrc
import os
import shutil
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

from goft_cli import metrics
from goft_cli.config import (
    BenchmarkConfig,
    ImageClassificationConfig,
    ModelConfig,
    TaskConfig,
    TextClassificationConfig,
    TrackerConfig,
    TrackerName,
    TrainConfig,
    WandbMode,
)
from goft_cli.errors import GoftError
from goft_cli.kinds import kind_of, refuse_specials
from goft_cli.sharing import availability

ASSET_SCHEME = "asset:"
MIN_FREE_BYTES = 64 * 2**20


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
    check_tracker(cfg.tracker)
    check_writable(Path(cfg.output_dir))
    check_tokenizer(cfg.model)
    check_model(cfg.model)
    for key, task in tasks.items():
        check_dataset(task, key)


def check_benchmark(task: TaskConfig, model: ModelConfig | None) -> None:
    """Check what scoring a benchmark reads: its questions, and a plain model if there is one."""
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
    if task.data_dir is not None:
        check_folder(task.data_dir, key=f"{key}.data_dir", content="data files")


def check_tokenizer(model: ModelConfig) -> None:
    """Refuse a tokenizer that no installed package can read."""
    location = model_location(model.path)
    if isinstance(location, Path) and (location / "tokenizer.json").is_file():
        return
    missing = [package for package in model.requires if not is_installed(package)]
    if missing:
        raise GoftError(
            f"model={model.name}: its tokenizer needs {' and '.join(missing)}, found no such "
            "package",
            f"run pip install {' '.join(missing)}",
        )


def is_installed(package: str) -> bool:
    """Tell whether a package is there, by the name that pip knows it by."""
    try:
        distribution(package)
    except PackageNotFoundError:
        return False
    return True


def check_model(model: ModelConfig) -> None:
    """Refuse a hub id that is neither cached nor to be had, and a path without a model."""
    if isinstance(model_location(model.path), str):
        availability.check_model(model)


def check_dataset(task: TaskConfig, key: str) -> None:
    """Refuse hub data that is neither cached nor to be had."""
    if task.remote_dataset:
        availability.check_dataset(task.remote_dataset, task.splits, key)


def check_images(task: ImageClassificationConfig) -> None:
    """Refuse an image task that nobody gives images."""
    if task.data_dir is None and task.generator is None:
        raise GoftError(
            f"task={task.name}: its images are on no hub",
            f"pass task.data_dir=DIR with one list per split ({task.train_split}.txt, ...) of "
            "lines such as images/000000.jpg 3",
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


def require_bitsandbytes(words: str) -> None:
    """Refuse to pack weights without the package that does it."""
    if find_spec("bitsandbytes") is None:
        raise GoftError(
            f"{words}: bitsandbytes is not installed",
            "run pip install 'goft-cli[quant]'",
        )


def check_engine() -> None:
    """Refuse an unknown rotation engine in the environment; imports torch."""
    from goft_cli.rotation import forced_engine
    from goft_cli.rotation.engines import EngineError

    try:
        forced_engine()
    except EngineError as error:
        raise GoftError(error.problem, error.remedy) from error


def wandb_key() -> bool:
    """Tell whether wandb would find a key in the environment or in netrc; never read it out."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    host = urlsplit(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).hostname or ""
    try:
        return netrc.netrc().authenticators(host) is not None
    except (OSError, netrc.NetrcParseError):
        return False


def asset_dir(name: str) -> Path:
    """Return the folder of a tiny model shipped with the package."""
    root = Path(__file__).resolve().parent / "assets"
    folder = root / name
    if not (folder / "config.json").is_file():
        known = ", ".join(sorted(entry.parent.name for entry in root.glob("*/config.json")))
        raise GoftError(
            f"model.path={ASSET_SCHEME}{name}: no such shipped model",
            f"expected {known}",
        )
    return folder


def model_location(path: str) -> Path | str:
    """Tell a model folder from a hub id.

    Returns:
        the folder as a Path, or the hub id as it was written.
    """
    if path.startswith(ASSET_SCHEME):
        return asset_dir(path.removeprefix(ASSET_SCHEME))
    folder = Path(path).expanduser()
    written_as_path = path.startswith((".", "~", os.sep)) or path.endswith(os.sep)
    is_hub_id = not folder.exists() and not written_as_path and path.count("/") <= 1
    if is_hub_id:
        return path
    check_folder(path, key="model.path", content="a model")
    refuse_specials(folder)
    if not (folder / "config.json").is_file():
        found = ", ".join(sorted(entry.name for entry in folder.iterdir())[:8])
        raise GoftError(
            f"model.path={path}: found {found} but no config.json",
            "pass a folder written by save_pretrained, or a hub id",
        )
    return folder


def check_folder(path: str, *, key: str, content: str) -> None:
    """Refuse a folder that is missing, not a folder, or empty."""
    folder = Path(path).expanduser()
    if not folder.exists():
        raise GoftError(f"{key}={path}: no such folder", f"pass the folder that holds {content}")
    if not folder.is_dir():
        kind = kind_of(folder) or "a file"
        raise GoftError(f"{key}={path} is {kind}", f"pass the folder that holds {content}")
    if not any(folder.iterdir()):
        raise GoftError(f"{key}={path}: the folder is empty", f"expected {content} in it")


def check_writable(folder: Path, key: str = "output_dir") -> None:
    """Refuse a run folder that cannot be made, cannot be written, or has no room."""
    present = folder
    while not present.exists():
        if present.is_symlink():
            raise GoftError(f"{key}={folder}: the link {present} leads nowhere", "mend it first")
        present = present.parent
    if not present.is_dir():
        raise GoftError(f"{key}={folder}: {present} is a file", f"choose another {key}")
    if not os.access(present, os.W_OK | os.X_OK):
        raise GoftError(
            f"{key}={folder}: no permission to write in {present}",
            f"choose another {key}",
        )
    free = shutil.disk_usage(present).free
    if free < MIN_FREE_BYTES:
        raise GoftError(
            f"{key}={folder}: {free / 2**20:.0f} MB free on its disk, expected at least "
            f"{MIN_FREE_BYTES // 2**20} MB for checkpoints",
            "free some space or choose another disk",
        )
