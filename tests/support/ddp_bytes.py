"""Count the bytes that DDP passes to its all-reduce in one update; rank 0 writes the number."""

from pathlib import Path

import torch
from peft import get_peft_model
from torch import Tensor, distributed, nn
from torch._C._distributed_c10d import GradBucket
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook
from torch.futures import Future

from goft_cli.tuner import GoftConfig


def main(path: Path) -> None:
    """Run one forward and backward pass of a model with GOFT, and write the number of bytes."""
    distributed.init_process_group("gloo")
    base = nn.Sequential(nn.Linear(64, 32), nn.Linear(32, 32))
    model = get_peft_model(base, GoftConfig(target_modules=["0", "1"]))
    group = distributed.group.WORLD
    assert group is not None
    wrapped, seen = nn.parallel.DistributedDataParallel(model), []

    # DDP checks these annotations, which must be classes and not strings
    def hook(state: None, bucket: GradBucket) -> Future[Tensor]:
        seen.append(bucket.buffer().nbytes)
        return allreduce_hook(group, bucket)

    wrapped.register_comm_hook(None, hook)
    wrapped(torch.randn(4, 64)).sum().backward()
    if distributed.get_rank() == 0:
        path.write_text(str(sum(seen)), encoding="utf-8")
    distributed.destroy_process_group()
