"""The parts of a run's manifest on the base model's files and on the environment."""

from __future__ import annotations

import platform
import re
import resource
import sys
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from threading import Thread
from typing import Any

from goft_cli.config import ModelConfig
from goft_cli.data.model_files import item_of, revision_of, settings, shards, stored
from goft_cli.system import __version__, snapshots
from goft_cli.system.digests import digests
from goft_cli.system.errors import GoftError
from goft_cli.system.locations import model_location, source_revision
from goft_cli.training.launch_checks import sharding_backend

PROCESSOR = (
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"),
    *("vocab.txt", "vocab.json", "merges.txt", "bpe.codes", "dict.txt"),
    *("tokenizer.model", "spm.model", "spiece.model", "sentencepiece.bpe.model"),
    *("preprocessor_config.json", "processor_config.json"),
)
"""Files of tokenizers and image processors."""
SETTINGS = ("config.json", "generation_config.json")
PACKAGES = ("torch", "transformers", "peft", "accelerate", "datasets", "evaluate", "hydra-core")


def describe_base(cfg: ModelConfig, *, fresh: bool = False) -> dict[str, Any]:
    """Return `source` (a folder, or the hub id), `revision`, `sha256` by name of a base model.

    `sha256` is empty where the hub's cache has no files. `fresh` reads every byte, without the
    cache of digests.
    """
    location = model_location(cfg.path)
    is_local = isinstance(location, Path)
    folder = location if is_local else snapshots.find(item_of(cfg), settings(cfg))
    if folder is None:
        return {"source": cfg.path, "revision": cfg.revision, "sha256": {}}
    found = digests([folder / name for name in loaded_files(folder, cfg)], fresh=fresh)
    return {
        "source": str(folder.resolve()) if is_local else cfg.path,
        "revision": revision_of(folder),
        "sha256": {path.name: digest for path, digest in found.items()},
    }


def hash_ahead(cfg: ModelConfig) -> Thread:
    """Hash a base model's files in a thread, so that `describe_base` finds their digests cached."""

    def work() -> None:
        with suppress(GoftError, OSError):  # loading the model raises it too
            describe_base(cfg)

    thread = Thread(target=work, daemon=True)  # a daemon, so that it never keeps the program alive
    thread.start()
    return thread


def loaded_files(folder: Path, cfg: ModelConfig) -> list[str]:
    """Name the files that loading the model may read; not all of them exist."""
    code = [path.name for path in folder.glob("*.py")] if cfg.trust_remote_code else []
    return [*SETTINGS, *weight_files(folder), *PROCESSOR, *code]


def weight_files(folder: Path) -> list[str]:
    """Name the file with the weights that is read, or an index with all its shards."""
    form = stored(folder)
    if form is None or not form.endswith(".json"):
        return [form] if form else []
    try:
        return [form, *shards(folder / form, str(folder))]
    except GoftError:
        return [form]  # a damaged index, which loading refuses


def environment() -> dict[str, Any]:
    """Return versions, hardware, and settings from environment variables."""
    import torch

    from goft_cli.rotation import forced_engine  # late, for it imports torch

    gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return {
        "goft_cli": __version__,
        "source_revision": source_revision(),
        "python": platform.python_version(),
        "packages": {name: installed_version(name) for name in PACKAGES},
        "platform": platform.platform(),
        "cpu_threads": torch.get_num_threads(),
        "gpus": gpus,
        "rotation_engine": forced_engine(),
        "sharding": sharding_backend(),
    }


def installed_version(package: str) -> str | None:
    """Return a package's version, None if it is absent."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def peak_memory_bytes() -> int:
    """Return the allocator's peak on a GPU, the process's resident peak on a CPU."""
    import torch

    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    status = Path("/proc/self/status")  # getrusage also counts the parent, before the exec
    if status.is_file():
        found = re.search(r"^VmHWM:\s+(\d+) kB$", status.read_text(), re.MULTILINE)
        if found:
            return 1024 * int(found[1])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
