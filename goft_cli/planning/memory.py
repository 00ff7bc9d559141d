"""How much memory a run takes in each process, part by part."""

from __future__ import annotations

import gc
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib import import_module

import psutil
import torch
from peft import PeftModel
from torch import Tensor, nn

from goft_cli.config import ModelConfig, Optimizer, Quantization, TrainConfig
from goft_cli.planning.tracing import step_bytes
from goft_cli.system.digests import in_modules

BITS = {Quantization["4bit"]: 4.127, Quantization["8bit"]: 8}
"""Per packed weight: NF4 has a scale of 8 bits per 64, and one of 32 per 256 of those."""
MOMENTS = {
    Optimizer.adamw_torch: 2,
    Optimizer.adamw_torch_fused: 2,
    Optimizer.adagrad: 1,
    Optimizer.rmsprop: 1,
    Optimizer.sgd: 0,
}
"""Numbers that an optimizer keeps per weight; Adafactor's depend on the shape."""
FRAGMENTS = 0.5
"""Per byte of activations, with glibc; runs of MiniLM-L6 had from none (full) to 1.2 (LoRA)."""
LATE_IMPORTS = ("matplotlib.figure", "matplotlib.backends.backend_agg", "sklearn.metrics")
"""What a run imports on its way."""


@dataclass(frozen=True)
class Memory:
    """Bytes in one process.

    Attributes:
        process: the program itself with its data; 0 on a GPU, where it lies in main memory.
        weights: of the model and the adapter.
        gradients: of what trains; under DDP twice, for the exchange has a copy.
        optimizer: its moments.
        activations: what the forward pass leaves for the backward pass, and passing needs of both.
        fragments: freed pieces that a CPU's allocator cannot use again; 0 on a GPU.
        rebuilt: the second model, read from the disk after the training to check the adapter.
    """

    process: int
    weights: int
    gradients: int
    optimizer: int
    activations: int
    fragments: int
    rebuilt: int

    @property
    def tensors(self) -> int:
        """What a GPU holds: the second model gets the room that the activations had."""
        return self.weights + self.gradients + self.optimizer + max(self.activations, self.rebuilt)

    @property
    def peak(self) -> int:
        """The most at any moment; on a CPU everything, for freed memory rarely goes back."""
        return sum(asdict(self).values()) if self.process else self.tensors


def forecast_memory(
    model: PeftModel, batch: Mapping[str, Tensor], cfg: TrainConfig, device: str
) -> Memory:
    """Add up the parts.

    Args:
        model: with its adapter, on the meta device; used up.
        batch: the largest of the run.
        cfg: precision, optimizer, processes.
        device: "cpu" or "cuda".

    Raises:
        Exception: the model asks for a tensor's values, and cannot be traced.
    """
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    gradients = sum(map(size, trained))
    copies = 2 if cfg.launcher.num_processes > 1 else 1
    weights = sum(map(size, model.parameters())) - saved_by_packing(model, cfg.model)
    optimizer = sum(optimizer_bytes(parameter, cfg.trainer.optim) for parameter in trained)
    activations = step_bytes(model, batch, cfg.trainer, device)
    return Memory(
        weights=weights,
        gradients=copies * gradients,
        optimizer=optimizer,
        activations=activations,
        fragments=round(FRAGMENTS * activations) if device == "cpu" else 0,
        rebuilt=weights,
        process=process_bytes() if device == "cpu" else 0,
    )


def size(tensor: Tensor) -> int:
    """Bytes of a tensor."""
    return tensor.numel() * tensor.element_size()


def saved_by_packing(model: nn.Module, cfg: ModelConfig) -> int:
    """Return the bytes that bitsandbytes saves on the linear layers that it packs."""
    if cfg.quantization is None:
        return 0
    kept = [*cfg.head_modules, "lm_head"]
    packed = [
        module.weight
        for name, module in model.named_modules()
        if type(module) is nn.Linear and not in_modules(name, kept)
        if not module.weight.requires_grad and "lora_" not in name
    ]
    bits = BITS[cfg.quantization]
    return sum(size(weight) - math.ceil(weight.numel() * bits / 8) for weight in packed)


def optimizer_bytes(parameter: Tensor, optimizer: Optimizer) -> int:
    """Return what an optimizer keeps for one tensor."""
    if optimizer in MOMENTS:
        return MOMENTS[optimizer] * size(parameter)
    if parameter.dim() < 2:
        return size(parameter)
    rows, columns = parameter.shape[-2:]  # Adafactor: a mean for each row and each column
    return size(parameter) // (rows * columns) * (rows + columns)


def process_bytes() -> int:
    """Return what this process holds, once everything that a run imports is imported."""
    for name in LATE_IMPORTS:
        import_module(name)
    gc.collect()
    return psutil.Process().memory_info().rss


def free_bytes(device: str) -> int:
    """Return how much memory there is to be had."""
    if device == "cuda":
        return torch.cuda.mem_get_info()[0]
    return psutil.virtual_memory().available
