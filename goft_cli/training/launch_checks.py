"""Compares the requested processes with the running ones, before any heavy import.

Under `accelerate launch` or `torchrun` every process composes the same configuration.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence

from goft_cli.config import AdaLoraAdapterConfig, Optimizer, TrainConfig, TrainerConfig
from goft_cli.config.trainer import processes
from goft_cli.system.errors import GoftError

SHARDING = {"DeepSpeed": "ACCELERATE_USE_DEEPSPEED", "FSDP": "ACCELERATE_USE_FSDP"}
LAUNCHERS = {"launch", "accelerate.commands.launch"}
"""Arguments that start accelerate's launcher; its own arguments follow them."""
LEFT_OVER = "run unset WORLD_SIZE"
USE_DDP = "use DDP (recipes/accelerate/*_ddp.yaml)"


def device_of(trainer: TrainerConfig) -> str:
    """Name where a run trains, "cpu" or "cuda"."""
    import torch

    return "cuda" if torch.cuda.is_available() and not trainer.use_cpu else "cpu"


def is_rank() -> bool:
    """Tell whether a launcher started this process."""
    return "WORLD_SIZE" in os.environ


def check_rank() -> None:
    """Refuse a WORLD_SIZE that no launcher can have set."""
    given = os.environ.get("WORLD_SIZE", "1")
    if not given.isdecimal() or int(given) < 1:
        raise GoftError(f"WORLD_SIZE={given}: expected the number of processes", LEFT_OVER)
    # every launcher sets these together with the number of processes
    missing = [name for name in ("RANK", "MASTER_ADDR") if name not in os.environ]
    if "WORLD_SIZE" not in os.environ and os.environ.get("LOCAL_RANK", "-1") != "-1":
        raise GoftError(
            f"LOCAL_RANK={os.environ['LOCAL_RANK']}, but no launcher started this process "
            "(WORLD_SIZE not set)",
            "run unset LOCAL_RANK",
        )
    if int(given) > 1 and missing:
        raise GoftError(
            f"WORLD_SIZE={given}, but no launcher started this process ({' and '.join(missing)} "
            "not set)",
            f"{LEFT_OVER}, or start {given} processes with goft train "
            f"launcher.num_processes={given}",
        )


def check_nesting(words: Sequence[str]) -> None:
    """Refuse a sweep inside a launch."""
    if processes() > 1 and {"-m", "--multirun"} & set(words):
        raise GoftError(
            f"-m inside a launch: each of the {processes()} processes would run a sweep of its "
            "own and wait for the others",
            "start the sweep alone, and let it launch each job: goft train -m ... "
            f"launcher.num_processes={processes()}",
        )


def check_launch(cfg: TrainConfig) -> None:
    """Refuse a number of processes that is not the running one, or exceeds the GPUs."""
    wanted = cfg.launcher.num_processes
    if is_rank():
        if wanted != processes():
            raise GoftError(
                f"launcher.num_processes={wanted}, but a launcher started {processes()}",
                "leave launcher.num_processes out under accelerate launch and torchrun",
            )
        wanted = int(os.environ.get("LOCAL_WORLD_SIZE", wanted))
        check_port()
    elif "ACCELERATE_MIXED_PRECISION" in os.environ:
        check_asked(asked_of_accelerate())
    if wanted > 1 and not cfg.trainer.use_cpu:
        check_gpus(wanted)
    check_sharding(cfg)


def check_asked(asked: int) -> None:
    """Refuse a launch that started one process instead of several."""
    if asked > 1:
        raise GoftError(
            f"accelerate launch was asked for {asked} processes and started 1, as it does on CPUs",
            f"use goft train launcher.num_processes={asked}, or torchrun --nproc_per_node {asked} "
            "-m goft_cli train",
        )


def asked_of_accelerate() -> int:
    """Return the number of processes that `accelerate launch`, our parent, was asked for."""
    import psutil
    from accelerate.commands.launch import (
        _validate_launch_command,  # the one place that reads words and configuration file together
        launch_command_parser,
    )

    words = psutil.Process(os.getppid()).cmdline()
    launcher = [at for at, word in enumerate(words) if word in LAUNCHERS]
    if not launcher:
        return 1
    arguments = launch_command_parser().parse_args(words[launcher[0] + 1 :])
    return _validate_launch_command(arguments)[0].num_processes


def check_port() -> None:
    """Refuse a port that the first process cannot open, before any heavy import.

    torchrun and accelerate have opened theirs already; with other launchers that process opens it.
    """
    opened = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    if opened or processes() == 1 or os.environ.get("RANK") != "0":
        return
    port = os.environ.get("MASTER_PORT", "29500")  # accelerate's default
    try:
        with socket.socket() as probe:
            # as the one that will serve there: what an ended launch leaves behind is no obstacle
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("", int(port)))
    except (OSError, ValueError, OverflowError) as error:
        taken = isinstance(error, OSError)
        why = str(error.strerror).lower() if taken else "no port, expected 0 to 65535"
        raise GoftError(
            f"MASTER_PORT={port}: {why}",
            "give all processes of the launch another port, or let goft choose a free one: goft "
            f"train launcher.num_processes={processes()}",
        ) from None


def check_gpus(wanted: int) -> None:
    """Refuse more processes than GPUs; a machine without any trains on its cores."""
    import torch

    found = torch.cuda.device_count()
    if 0 < found < wanted:
        raise GoftError(
            f"launcher.num_processes={wanted}, but this machine has {found} visible "
            f"GPU{'s' if found > 1 else ''}",
            f"pass launcher.num_processes={found}, or trainer.use_cpu=true",
        )


def sharding_backend() -> str | None:
    """Name the backend that shards the model, if there is one."""
    asked = (name for name, key in SHARDING.items() if os.environ.get(key, "").lower() == "true")
    return next(asked, None)


def check_sharding(cfg: TrainConfig) -> None:
    """Refuse settings that the backend does not support or accelerate would replace."""
    backend = sharding_backend()
    if backend and (unfitness := unfit(backend, cfg)):
        reason, remedy = unfitness
        raise GoftError(f"accelerate launch asks for {backend}: {reason}", remedy)


def unfit(backend: str, cfg: TrainConfig) -> tuple[str, str] | None:
    """Return why a backend cannot shard this run, and a remedy; None if it can."""
    on_cpu = device_of(cfg.trainer) == "cpu"
    if backend == "FSDP" and os.environ.get("FSDP_VERSION") != "2":
        return "its first version is not supported", "write fsdp_version: 2 into the file"
    if backend == "FSDP" and on_cpu:
        return "without a GPU it falls back to DDP", "use goft train launcher.num_processes=N"
    if backend == "FSDP" and cfg.trainer.optim is Optimizer.sgd:
        return "torch cannot resume SGD, which has no state, with it", "pass another trainer.optim"
    if on_cpu and not cfg.trainer.use_cpu:
        return "without a GPU each process would train alone", "pass trainer.use_cpu=true"
    if cfg.model.quantization:
        return "quantized weights cannot be sharded", f"leave model.quantization out, or {USE_DDP}"
    if cfg.trainer.max_tokens_per_batch is not None:
        reason = "trainer.max_tokens_per_batch gives each process another number of batches"
        return reason, f"leave it out, or {USE_DDP}"
    if isinstance(cfg.adapter, AdaLoraAdapterConfig):
        return f"adapter={cfg.adapter.name} needs unsharded gradients", USE_DDP
    return None
