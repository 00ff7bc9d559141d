"""Train a tiny LLaMA with sharded weights, as one of two processes on CPUs.

torchrun --nproc_per_node 2 tests/sharding.py fsdp2|zero2|zero3 METHOD OUTPUT.safetensors

accelerate replaces FSDP by DDP where there is no GPU, so `fsdp2` applies torch's `fully_shard`
itself; `zero2` and `zero3` go through Trainer and DeepSpeed. What only a GPU can prove: NCCL,
bfloat16 sharding, the memory saved, and FSDP2 through accelerate and Trainer.
"""

from __future__ import annotations

import os
import sys
import tempfile
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig, PeftModel, get_peft_model
from peft.utils import get_peft_model_state_dict
from safetensors.torch import save_file
from torch import Tensor
from transformers import TrainingArguments

from goft_cli.penalty import forget_penalties, total_penalty
from goft_cli.tasks.instruction.batches import PadRight
from goft_cli.trainer import PenaltyTrainer
from goft_cli.tuner import GoftConfig
from tests.decoders import random_llama, random_rows

TARGETS = ["q_proj", "v_proj", "down_proj"]
PENALTY_WEIGHT = 0.3
GLOBAL_BATCH = 4
STEPS = 3
RATE = 0.05


def adapted(method: str) -> PeftModel:
    """Put an adapter on the tiny LLaMA, away from its start so that a penalty is not zero."""
    shared = {"target_modules": TARGETS, "task_type": "CAUSAL_LM"}
    if method == "lora":
        config: Any = LoraConfig(r=2, init_lora_weights=False, **shared)
    else:
        config = GoftConfig(
            method="qgoft", penalty_weight=PENALTY_WEIGHT, init_weights=False, **shared
        )
    return get_peft_model(random_llama(), config)


def rows() -> Dataset:
    """Rows of one length, so that a mean over ranks is the mean over tokens."""
    return Dataset.from_list(random_rows([(3, 5)] * (GLOBAL_BATCH * STEPS)))


def trainer(method: str, *, batch: int, **options: object) -> PenaltyTrainer:
    """Plain SGD, so that a difference of gradients stays a difference of that size."""
    values: dict[str, Any] = {
        "output_dir": tempfile.mkdtemp(),
        "max_steps": STEPS,
        "learning_rate": RATE,
        "lr_scheduler_type": "constant",
        "optim": "sgd",
        "max_grad_norm": 0.0,
        "save_strategy": "no",
        "train_sampling_strategy": "sequential",
        "per_device_train_batch_size": batch,
        "report_to": [],
        "disable_tqdm": True,
        "use_cpu": True,
        "dataloader_pin_memory": False,
        **options,
    }
    return PenaltyTrainer(
        model=adapted(method),
        args=TrainingArguments(**values),
        train_dataset=rows(),
        data_collator=PadRight(0),
    )


def trained_alone(method: str) -> dict[str, Tensor]:
    """Train in this process, on whole batches, and return the adapter's tensors."""
    one = trainer(method, batch=GLOBAL_BATCH)
    one.train()
    return tensors(one.model)


def tensors(model: Any) -> dict[str, Tensor]:  # noqa: ANN401 - PEFT's model, wrapped or not
    """Copy the adapter's tensors."""
    return {key: value.clone() for key, value in get_peft_model_state_dict(model).items()}


def zero(stage: int, method: str) -> dict[str, Tensor]:
    """Train through Trainer with DeepSpeed, and put the shared weights together again."""
    import deepspeed  # pyright: ignore[reportMissingImports] - an extra

    settings = {
        "train_micro_batch_size_per_gpu": GLOBAL_BATCH // 2,
        "gradient_accumulation_steps": 1,
        "gradient_clipping": "auto",  # trainer.max_grad_norm; where it is absent DeepSpeed takes 1.0
        "zero_optimization": {
            "stage": stage,
            "stage3_param_persistence_threshold": 0,  # else whatever is small stays whole
        },
        "zero_allow_untested_optimizer": True,
    }
    one = trainer(method, batch=GLOBAL_BATCH // 2, deepspeed=settings)
    one.train()
    model: Any = one.model
    with deepspeed.zero.GatheredParameters(list(model.parameters()), enabled=stage == 3):
        return tensors(model)


def fsdp2(method: str) -> dict[str, Tensor]:
    """Shard every block by torch's `fully_shard`, and train by hand with the penalty."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    torch.distributed.init_process_group("gloo")
    rank, mesh = torch.distributed.get_rank(), init_device_mesh("cpu", (2,))
    model: Any = adapted(method).train()
    for block in model.get_base_model().model.layers:
        fully_shard(block, mesh=mesh)
    fully_shard(model, mesh=mesh)
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=RATE)
    for step in range(STEPS):
        first = step * GLOBAL_BATCH + rank * GLOBAL_BATCH // 2
        share = [rows()[index] for index in range(first, first + GLOBAL_BATCH // 2)]
        forget_penalties(model)
        loss = model(**PadRight(0)(share)).loss
        penalty = total_penalty(model)
        (loss if penalty is None else loss + penalty).backward()
        optimizer.step()
        optimizer.zero_grad()
    return {name: whole(value) for name, value in get_peft_model_state_dict(model).items()}


def whole(value: Any) -> Tensor:  # noqa: ANN401 - a tensor, or one whose parts lie elsewhere
    """Put a sharded tensor together."""
    return value.full_tensor() if hasattr(value, "full_tensor") else value


def main() -> None:
    """Train as one of two ranks; the first one saves."""
    engine, method, output = sys.argv[1:]
    found = fsdp2(method) if engine == "fsdp2" else zero(int(engine[-1]), method)
    if torch.distributed.get_world_size() != 2:
        raise SystemExit(f"expected 2 ranks, found {torch.distributed.get_world_size()}")
    if torch.distributed.get_rank() == 0:
        save_file({key: value.contiguous() for key, value in found.items()}, output)
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    os.environ.setdefault("DS_ACCELERATOR", "cpu")
    main()
