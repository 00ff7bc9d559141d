"""Checks of the machine: packages, GPU, precision, rotation engine, disk, accelerate."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from platform import python_version

import torch
from accelerate.commands.config.config_args import default_config_file, load_config_from_file
from packaging.requirements import Requirement

from goft_cli.compose.own_model import read_config
from goft_cli.config import (
    Dtype,
    FullConfig,
    GoftAdapterConfig,
    ModelConfig,
    TrainConfig,
    TrainerConfig,
)
from goft_cli.rotation import compiled, forced_engine
from goft_cli.rotation.engines import EngineError, choose_engine
from goft_cli.run.summary import megabytes
from goft_cli.system import kept
from goft_cli.system.errors import GoftError
from goft_cli.system.locations import MIN_FREE_BYTES, check_writable, model_location
from goft_cli.system.tables import Finding, Verdict, refused
from goft_cli.training.launch_checks import device_of

SHOWN = ("torch", "transformers", "peft", "accelerate", "datasets")
MULTILINGUAL_VOCABULARY = 200_000
"""Between the vocabularies of mDeBERTa (251,000 entries) and DeBERTaV3 (128,100)."""
COPIES = 3
"""Weights and two moments of Adam, in a checkpoint of full fine-tuning."""


def examine_packages() -> Finding:
    """Compare the installed versions with what this package asks for."""
    unfit = list(unfit_packages(requires("goft-cli") or []))
    if unfit:
        wanted = " ".join(f"'{one}'" for one in unfit)
        return Finding("packages", Verdict.fail, ", ".join(unfit), f"pip install {wanted}")
    versions = ", ".join(f"{name} {version(name)}" for name in SHOWN)
    return Finding("packages", Verdict.ok, f"python {python_version()}, {versions}")


def unfit_packages(requirements: list[str]) -> Iterator[str]:
    """Yield each requirement that is not met, extras left out."""
    for text in requirements:
        wanted = Requirement(text)
        if wanted.marker is not None and not wanted.marker.evaluate({"extra": ""}):
            continue
        try:
            met = wanted.specifier.contains(version(wanted.name), prereleases=True)
        except PackageNotFoundError:
            met = False
        if not met:
            yield f"{wanted.name}{wanted.specifier}"


def examine_gpu(trainer: TrainerConfig) -> Finding:
    """See whether there is a GPU, and whether it supports the precision."""
    if device_of(trainer) == "cpu":
        return examine_cpu(trainer)
    device = torch.cuda.get_device_properties(0)
    found = f"{torch.cuda.device_count()} x {device.name}, {device.total_memory / 2**30:.0f} GiB"
    if torch.cuda.is_bf16_supported(including_emulation=False):
        return Finding("GPU", Verdict.ok, f"{found}, bf16")
    if trainer.bf16:
        remedy = "pass trainer.bf16=false, or trainer.fp16=true"
        return Finding("GPU", Verdict.fail, f"{found}, which has no bf16", remedy)
    return Finding("GPU", Verdict.ok, f"{found}, no bf16")


def examine_cpu(trainer: TrainerConfig) -> Finding:
    """Check the precision against a CPU, and say why there is no GPU if that is known."""
    found = f"none in use; threads on the CPU: {torch.get_num_threads()}"
    if trainer.fp16:
        remedy = "drop trainer.fp16=true"
        return Finding("GPU", Verdict.fail, f"{found}, and fp16 needs one", remedy)
    if trainer.bf16 and not trainer.use_cpu:
        remedy = "add trainer.use_cpu=true, or drop trainer.bf16"
        return Finding("GPU", Verdict.fail, f"{found}, and trainer.bf16 needs one", remedy)
    if shutil.which("nvidia-smi") and torch.version.cuda is None:
        found = "there is one, but torch is built without CUDA"
        index = "https://download.pytorch.org/whl/cu126"
        remedy = f"pip install --force-reinstall torch --index-url {index}"
        return Finding("GPU", Verdict.note, found, remedy)
    return Finding("GPU", Verdict.ok, found)


def examine_half_precision(cfg: TrainConfig) -> Finding:
    """Warn of the models whose activations leave the range of fp16."""
    half = cfg.trainer.fp16 or cfg.model.dtype is Dtype.float16
    if half and is_mdeberta(cfg.model):
        found = f"{cfg.model.name}: mDeBERTa overflows in fp16, and the loss becomes NaN"
        remedy = "pass trainer.fp16=false model.dtype=float32; on a GPU with bf16 trainer.bf16=true"
        return Finding("precision", Verdict.fail, found, remedy)
    mixed = "bf16" if cfg.trainer.bf16 else "fp16" if cfg.trainer.fp16 else "no"
    found = f"weights in {cfg.model.dtype.value}, {mixed} mixed precision"
    return Finding("precision", Verdict.ok, found)


def is_mdeberta(model: ModelConfig) -> bool:
    """Tell by the name or, for a model in a folder, by the vocabulary's size."""
    if "mdeberta" in f"{model.name} {model.path}".lower():
        return True
    if local_folder(model) is None:
        return False
    try:
        config = read_config(model.path, model.revision)
    except GoftError:  # which another check reports
        return False
    vocabulary = config.get("vocab_size")
    is_large = isinstance(vocabulary, int) and vocabulary > MULTILINGUAL_VOCABULARY
    return is_large and config["model_type"] == "deberta-v2"


def local_folder(model: ModelConfig) -> Path | None:
    """Return a model's folder, None for one on the hub or for one that cannot be used."""
    try:
        location = model_location(model.path)
    except GoftError:  # which another check reports
        return None
    return location if isinstance(location, Path) else None


def examine_rotation(cfg: TrainConfig) -> Finding:
    """Choose the rotation engine as the run would, and compile it if that happens at first use."""
    subject = "rotation"
    if not isinstance(cfg.adapter, GoftAdapterConfig):
        return Finding(subject, Verdict.ok, "none")
    dtype = getattr(torch, cfg.model.dtype.value)
    x = torch.empty(1, 768, dtype=dtype, device=device_of(cfg.trainer))
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            engine = choose_engine(x)
        except EngineError as error:
            return Finding(subject, Verdict.fail, error.problem, error.remedy)
    if said:
        return Finding(subject, Verdict.note, str(said[0].message))
    chosen = forced_engine() == "auto"
    if chosen and engine == "blocked" and compiled.has_team() and not compiled.can_build():
        found = f"{engine} engine, since there is no C compiler ({compiled.command()[0]})"
        return Finding(subject, Verdict.note, found, "install gcc or clang, or let CC name one")
    return Finding(subject, Verdict.ok, f"{engine} engine")


def examine_disk(cfg: TrainConfig) -> Finding:
    """Compare the free space with what checkpoints take, as far as that is known."""
    folder = Path(cfg.output_dir)
    try:
        check_writable(folder)
    except GoftError as error:
        return refused("disk", error)
    while not folder.exists():
        folder = folder.parent
    free, needed = shutil.disk_usage(folder).free, checkpoint_bytes(cfg)
    found = f"{free / 2**30:.1f} GiB free at {cfg.output_dir}"
    if free < needed:
        remedy = "pass output_dir=DIR on another disk, or trainer.save_total_limit=1"
        found += f", checkpoints take up to {needed / 2**30:.1f} GiB"
        return Finding("disk", Verdict.fail, found, remedy)
    return Finding("disk", Verdict.ok, found)


def checkpoint_bytes(cfg: TrainConfig) -> int:
    """Return what checkpoints take at most: little for an adapter, models for full fine-tuning."""
    folder = local_folder(cfg.model)
    if folder is None or not isinstance(cfg.adapter, FullConfig):
        return MIN_FREE_BYTES
    weights = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
    return MIN_FREE_BYTES + (cfg.trainer.save_total_limit + 1) * COPIES * weights


def examine_tokens(*, clear: bool) -> Finding:
    """Report the size of the token cache, after clearing it if asked."""
    before, _ = kept.census()
    if clear:
        kept.clear()
    count, size = kept.census()
    removed = f", {before - count} removed" if clear else ""
    found = f"{count} files with {megabytes(size)} in {kept.folder()}{removed}"
    try:
        most = kept.limit()
    except GoftError as error:
        return refused("tokens", error)
    try:
        check_writable(kept.folder(), key="XDG_CACHE_HOME")
    except GoftError as error:
        none = f"{found}; new ones are not stored: {error.problem}"
        return Finding("tokens", Verdict.note, none, error.remedy)
    return Finding("tokens", Verdict.ok, f"{found}; at most {megabytes(most)}")


def examine_accelerate() -> Finding:
    """Check the configuration file of `accelerate launch`, if there is one."""
    path = Path(default_config_file)
    if not path.is_file():
        return Finding("accelerate", Verdict.ok, "no configuration; one process needs none")
    remedy = f"accelerate config, or rm {path}"
    try:
        processes = getattr(load_config_from_file(str(path)), "num_processes", 1)
    except Exception as error:  # YAML's, or any of accelerate's own
        found = f"{path} cannot be read: {' '.join(str(error).split())[:120]}"
        return Finding("accelerate", Verdict.fail, found, remedy)
    gpus = torch.cuda.device_count()
    if gpus and processes > gpus:
        found = f"{path} asks for {processes} processes, and there are {gpus} GPUs"
        return Finding("accelerate", Verdict.fail, found, remedy)
    return Finding("accelerate", Verdict.ok, f"{path}: {processes} processes")
