"""The memory of a run, from one training step and one evaluation on tensors without data."""

from __future__ import annotations

import gc
import math
import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

import psutil
import torch
from peft import PeftModel
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from goft_cli.config import ModelConfig, Optimizer, Quantization, TrainConfig, TrainerConfig
from goft_cli.models.heads import head_of
from goft_cli.system.digests import in_modules
from goft_cli.tasks.base import Tensors
from goft_cli.training.by_length import parts_of
from goft_cli.training.launch_checks import device_of
from goft_cli.verbs.plan.stand_in import allocating_only
from goft_cli.verbs.plan.steps import Batches, as_trained, evaluate, loss_of

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
LATE_BYTES = 60 * 2**20
"""What a run imports after its training, matplotlib and scikit-learn, takes in its process."""


@dataclass(frozen=True)
class Memory:
    """Bytes in one process.

    Attributes:
        process: the program itself with its data; 0 on a GPU, where it lies in main memory.
        weights: of the model and the adapter.
        gradients: of what trains; under DDP twice, for the exchange has a copy.
        optimizer: its moments.
        activations: what the forward pass leaves for the backward pass, and what both need.
        fragments: freed pieces that a CPU's allocator cannot use again; 0 on a GPU.
        rebuilt: the second model, read from the disk after the training to check the adapter.
        kept: what the updates leave in the process, which an evaluation uses again; 0 on a GPU.
        scored: what an evaluation needs for a batch.
    """

    process: int
    weights: int
    gradients: int
    optimizer: int
    activations: int
    fragments: int
    rebuilt: int
    kept: int
    scored: int

    @property
    def tensors(self) -> int:
        """What a GPU holds: the second model and its evaluation use the room of the activations."""
        after = self.rebuilt + self.scored
        return self.weights + self.gradients + self.optimizer + max(self.activations, after)

    @property
    def peak(self) -> int:
        """The most at any moment.

        On a CPU the process keeps the memory that it has freed: an evaluation and later imports use
        it again, but the second model does not, as its file is mapped.
        """
        if not self.process:
            return self.tensors
        after = max(self.kept, self.scored, LATE_BYTES) + self.rebuilt
        states = self.gradients + self.optimizer
        return self.process + self.weights + states + max(self.updating, after)

    @property
    def updating(self) -> int:
        """What an update needs beside weights, gradients and moments."""
        return self.activations + self.fragments

    @property
    def evaluates(self) -> bool:
        """Whether the peak is in an evaluation."""
        return self.peak > replace(self, scored=0).peak

    def corrected(self, grown: int, kept: int, scored: int) -> Memory:
        """Return the forecast for a CPU on which the process grew by so many bytes.

        At most it grew by `grown` in updates and by `scored` in an evaluation after them, and by
        `kept` between the two.
        """
        states = self.gradients + self.optimizer
        updating, kept, scored = (max(0, one - states) for one in (grown, kept, scored))
        activations = min(self.activations, updating)
        fragments = updating - activations
        return replace(self, activations=activations, fragments=fragments, kept=kept, scored=scored)


def forecast_memory(model: PeftModel, batches: Batches, cfg: TrainConfig, device: str) -> Memory:
    """Add up the parts; the model is on the meta device and is used up.

    Raises:
        Exception: the model asks for a tensor's values, and cannot be traced.
    """
    if most := cfg.trainer.max_tokens_per_batch:
        batches = replace(batches, trained=parts_of(batches.trained, most)[0])
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    copies = 2 if cfg.launcher.num_processes > 1 else 1
    saved = saved_by_packing(model, cfg.model)
    weights = sum(parameter.nbytes for parameter in model.parameters()) - saved
    optimizer = sum(optimizer_bytes(parameter, cfg.trainer.optim) for parameter in trained)
    gradients = copies * sum(parameter.nbytes for parameter in trained)
    activations, scored = traced_bytes(model, batches, cfg.trainer, device)
    fragments = round(FRAGMENTS * activations) if device == "cpu" else 0
    return Memory(
        weights=weights,
        gradients=gradients,
        optimizer=optimizer,
        activations=activations,
        fragments=fragments,
        # of packed weights it is read packed, and then again, to become plain ones
        rebuilt=weights + (weights + saved if saved else 0),
        process=process_bytes() if device == "cpu" else 0,
        kept=activations + fragments if device == "cpu" else 0,
        scored=scored,
    )


def saved_by_packing(model: nn.Module, cfg: ModelConfig) -> int:
    """Return the bytes that bitsandbytes saves on the linear layers that it packs."""
    if cfg.quantization is None:
        return 0
    kept = [*head_of(model, cfg), "lm_head"]
    packed = [
        module.weight
        for name, module in model.named_modules()
        if type(module) is nn.Linear and not in_modules(name, kept)
        if not module.weight.requires_grad and "lora_" not in name
    ]
    bits = BITS[cfg.quantization]
    return sum(weight.nbytes - math.ceil(weight.numel() * bits / 8) for weight in packed)


def optimizer_bytes(parameter: Tensor, optimizer: Optimizer) -> int:
    """Return what an optimizer keeps for one tensor."""
    if optimizer is not Optimizer.adafactor:
        return MOMENTS.get(optimizer, 2) * parameter.nbytes  # those not listed keep two at most
    if parameter.dim() < 2:
        return parameter.nbytes
    rows, columns = parameter.shape[-2:]  # Adafactor: a mean for each row and each column
    return parameter.nbytes // (rows * columns) * (rows + columns)


def process_bytes() -> int:
    """Return what this process holds, which has imported what a training does."""
    gc.collect()
    return psutil.Process().memory_info().rss


def free_bytes(device: str) -> int:
    """Return how much memory is free."""
    if device == "cuda":
        return torch.cuda.mem_get_info()[0]
    return psutil.virtual_memory().available


def total_bytes(cfg: TrainConfig) -> int:
    """Return the memory of one process: that of its GPU, or its share of the machine's."""
    if device_of(cfg.trainer) == "cuda":
        return torch.cuda.mem_get_info()[1]
    return psutil.virtual_memory().total // cfg.launcher.num_processes


class LiveBytes(TorchDispatchMode):
    """Counts the bytes of storages that operations make: `live` now, `peak` at most.

    Views do not count, nor do the `given` tensors, which were there before.
    """

    def __init__(self, given: Sequence[Tensor]) -> None:
        super().__init__()
        self.live = self.peak = 0
        self._seen = weakref.WeakSet(tensor.untyped_storage() for tensor in given)

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401 - whatever the operation returns
        """Run an operation and count what it made."""
        made = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(made):
            if isinstance(leaf, Tensor):
                self._count(leaf.untyped_storage())
        return made

    def _count(self, storage: torch.UntypedStorage) -> None:
        if storage in self._seen:
            return
        self._seen.add(storage)
        size = storage.nbytes()
        self.live += size
        self.peak = max(self.peak, self.live)
        weakref.finalize(storage, self._release, size)

    def _release(self, size: int) -> None:
        self.live -= size


def traced_bytes(
    model: PeftModel, batches: Batches, trainer: TrainerConfig, device: str
) -> tuple[int, int]:
    """Return the peaks of one micro-batch, forward and backward, and of one evaluation's batch.

    Weights and gradients are left out. The model is on the meta device and is used up; no memory of
    `device` is used.

    Raises:
        Exception: the model asks for a tensor's values, of which there are none.
    """
    as_trained(model, trainer)
    with ExitStack() as stack:
        stack.enter_context(allocating_only())
        fake = stack.enter_context(FakeTensorMode(allow_non_fake_inputs=True))
        model.to_empty(device=torch.device(device))

        def peak(batch: Mapping[str, Tensor], run: Callable[[dict[str, Tensor]], None]) -> int:
            inputs = {name: fake.from_tensor(tensor).to(device) for name, tensor in batch.items()}
            kept = [*model.parameters(), *model.buffers(), *inputs.values()]
            with LiveBytes(kept) as live:
                run(inputs)
            return live.peak - live.live  # what is left are the gradients

        activations = peak(
            batches.trained, lambda inputs: loss_of(model, inputs, trainer, device).backward()
        )
        model.eval()
        return activations, peak(
            batches.scored, lambda inputs: evaluate(model, inputs, trainer, device, copied)
        )


def copied(outputs: Tensors, batch: Mapping[str, Tensor]) -> Tensors:
    """Make one copy, in place of a task's `reduce`, which may ask for the values of tensors."""
    return tree_map(torch.clone, outputs)
