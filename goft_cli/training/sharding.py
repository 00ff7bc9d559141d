"""Training sharded by DeepSpeed or FSDP2: checks, and gathering of the weights."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

from accelerate.utils import patch_environment
from torch import nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.serialization import safe_globals
from transformers import TrainingArguments
from transformers.integrations.deepspeed import (
    is_deepspeed_zero3_enabled,
    unset_hf_deepspeed_config,
)
from transformers.trainer import OPTIMIZER_NAME

from goft_cli.config import TrainConfig
from goft_cli.system.errors import GoftError
from goft_cli.training.launch_checks import SHARDING, sharding_backend


def backend_of(checkpoint: Path) -> str | None:
    """Return the backend that wrote a checkpoint, by the name of its optimizer folder."""
    if (checkpoint / "latest").is_file():
        return "DeepSpeed"
    return None if (checkpoint / OPTIMIZER_NAME).is_file() else "FSDP"


def check_same_backend(checkpoint: Path) -> None:
    """Refuse to resume with another backend: Trainer would do so without the optimizer's state."""
    wrote, here = backend_of(checkpoint), sharding_backend()
    if wrote != here:
        raise GoftError(
            f"{checkpoint} was written with {wrote or 'unsharded weights'}, and this start has "
            f"{here or 'unsharded weights'}",
            "launch it as before, or pass overwrite=true",
        )


@contextmanager
def unpickling_nothing() -> Iterator[None]:
    """Let DeepSpeed read only tensors, numbers and its own classes from a checkpoint."""
    if sharding_backend() != "DeepSpeed":
        yield
        return
    import deepspeed  # pyright: ignore[reportMissingImports] - an extra

    scalers, zero = deepspeed.runtime.fp16.loss_scaler, deepspeed.runtime.zero.config
    its_own = [
        scalers.DynamicLossScaler,
        scalers.LossScaler,
        zero.ZeroStageEnum,
        deepspeed.utils.fragment_address,
    ]
    with safe_globals(its_own), patch_environment(torch_force_weights_only_load="1"):
        yield


def whole_state(model: nn.Module) -> dict[str, Any] | None:
    """Return the unsharded trainable tensors by name, on the CPU of the first process.

    All processes must call it; None if the model is not sharded.
    """
    if sharding_backend() is None:
        return None
    options = StateDictOptions(full_state_dict=True, cpu_offload=True, ignore_frozen_params=True)
    with together(model):
        return get_model_state_dict(model, options=options)


def together(model: nn.Module) -> AbstractContextManager[object]:
    """Gather ZeRO-3's trainable parameters within a block; other backends do not need it."""
    if not is_deepspeed_zero3_enabled():
        return nullcontext()
    from deepspeed import zero  # pyright: ignore[reportMissingImports] - an extra

    return zero.GatheredParameters([p for p in model.parameters() if p.requires_grad])


def check_deepspeed(cfg: TrainConfig, arguments: TrainingArguments) -> None:
    """Refuse settings that ZeRO-3 would not follow."""
    plugin = arguments.deepspeed_plugin
    if plugin is None or plugin.zero_stage != 3:
        return
    if plugin.zero3_init_flag:
        raise GoftError(
            "zero3_init_flag: true shards weights while they are read, so goft cannot check them",
            "write zero3_init_flag: false into accelerate's file",
        )
    dtype = cfg.model.dtype.value
    if dtype != "float32" and not (cfg.trainer.bf16 or cfg.trainer.fp16):
        raise GoftError(
            f"model.dtype={dtype}: ZeRO-3 would convert the weights to float32",
            "pass trainer.bf16=true as well, which leaves the adapter in float32",
        )


def forget_sharding() -> None:
    """Build later models unsharded in every process, in accelerate and transformers.

    The next `TrainingArguments` make accelerate read the environment again.
    """
    for variable in SHARDING.values():
        os.environ.pop(variable, None)
    unset_hf_deepspeed_config()
