"""Run `goft` as one process of a sharded launch on CPUs, with a patch for FSDP2 or ZeRO-3.

accelerate launch --config_file recipes/accelerate/two_a100_fsdp2.yaml \
    tests/support/sharded_backends.py train ...

accelerate replaces FSDP by DDP if there is no GPU, so a patch makes it treat CPUs as GPUs. ZeRO-3
does not shard weights of less than 100,000 entries, as all of a tiny model are, so a patch sets
that limit to 0. NCCL, fp16 and the saved memory can be tested on GPUs only.
"""

from __future__ import annotations

import os
import sys
from unittest.mock import patch

import torch
from accelerate import PartialState
from accelerate.utils import DeepSpeedPlugin, DistributedType

from goft_cli.cli import main
from goft_cli.training import launch_checks


def take_cpus_for_gpus() -> None:
    """Make accelerate use FSDP2 on CPUs, and switch off goft's check of sharded runs."""
    os.environ["ACCELERATE_TORCH_DEVICE"] = "cpu"
    torch.distributed.init_process_group("gloo")
    backend = ("gloo", DistributedType.MULTI_GPU)
    patch.object(PartialState, "_prepare_backend", return_value=backend).start()
    patch.object(launch_checks, "check_sharding").start()


def share_small_weights_out() -> None:
    """Lower the size from which ZeRO-3 shards weights."""
    finish = DeepSpeedPlugin.__post_init__

    def finish_and_lower(plugin: DeepSpeedPlugin) -> None:
        finish(plugin)
        zero = plugin.hf_ds_config.config["zero_optimization"]
        zero["stage3_param_persistence_threshold"] = 0

    patch.object(DeepSpeedPlugin, "__post_init__", finish_and_lower).start()


if __name__ == "__main__":
    if launch_checks.sharding_backend() == "FSDP":
        take_cpus_for_gpus()
    else:
        share_small_weights_out()
    sys.exit(main(sys.argv[1:]))
