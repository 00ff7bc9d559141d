"""The memory of one training step, found by running it on tensors that have shapes and no data."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from typing import Any

import torch
from peft import PeftModel
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from goft_cli.config import TrainerConfig
from goft_cli.rotation import force_engine, rotate_transposed
from goft_cli.tuner.layer import GoftLayer
from goft_cli.tuner.penalty import total_penalty

MANY_VECTORS = 64
"""Enough for the engine that a CPU uses in training."""


class LiveBytes(TorchDispatchMode):
    """Adds up the storages that operations make while they live, views left out.

    Attributes:
        live: bytes now.
        peak: most bytes at any moment.
    """

    def __init__(self, given: Sequence[Tensor]) -> None:
        """Start with nothing.

        Args:
            given: tensors that were there before, and do not count.
        """
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


def step_bytes(
    model: PeftModel, batch: Mapping[str, Tensor], trainer: TrainerConfig, device: str
) -> int:
    """Return the peak of one micro-batch, forward and backward, weights and gradients left out.

    Args:
        model: on the meta device; used up.
        batch: as the collator makes it.
        trainer: precision and checkpointing.
        device: "cpu" or "cuda"; neither is touched.

    Raises:
        Exception: the model asks for a tensor's values, of which there are none.
    """
    if device == "cpu":
        prepare_rotations(model)
    if trainer.gradient_checkpointing:
        model.gradient_checkpointing_enable()
    with ExitStack() as stack:
        # a kernel of Triton's needs data; the blocked form keeps for the backward pass what it does
        stack.enter_context(nullcontext() if device == "cpu" else force_engine("blocked"))
        fake = stack.enter_context(FakeTensorMode(allow_non_fake_inputs=True))
        model.to_empty(device=torch.device(device)).train()
        inputs = {name: fake.from_tensor(tensor).to(device) for name, tensor in batch.items()}
        weights = [*model.parameters(), *model.buffers()]
        live = stack.enter_context(LiveBytes([*weights, *inputs.values()]))
        with autocast(trainer, device):
            loss = model(**inputs).loss
            penalty = total_penalty(model)
        (loss if penalty is None else loss + penalty).backward()
        return live.peak - live.live  # what is left are the gradients


def prepare_rotations(model: PeftModel) -> None:
    """Turn something real of each width: the tables that this leaves need not be traced again."""
    shapes = {
        (layer.in_features, layer.rotation(name).dim() == 3)
        for layer in model.modules()
        if isinstance(layer, GoftLayer)
        for name in layer.goft_rotation
    }
    for width, quasi in shapes:
        if width > 1:
            rotation = torch.eye(2).repeat(width - 1, 1, 1) if quasi else torch.zeros(width - 1)
            rotate_transposed(torch.zeros(MANY_VECTORS, width), rotation)


def autocast(trainer: TrainerConfig, device: str) -> AbstractContextManager[object]:
    """Compute in half precision where the trainer will."""
    if trainer.bf16 or trainer.fp16:
        return torch.autocast(device, torch.bfloat16 if trainer.bf16 else torch.float16)
    return nullcontext()
