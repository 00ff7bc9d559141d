"""What each of several devices holds and sends, by the way of sharing a training out.

Ring collectives on n devices: each sends (n-1)/n of a tensor to reduce-scatter or to gather it, and
twice that to all-reduce it (Patarasuk and Yuan, "Bandwidth optimal all-reduce algorithms for
clusters of workstations", 2009). What is shared out by which stage: Rajbhandari et al., "ZeRO:
Memory Optimizations Toward Training Trillion Parameter Models", SC 2020, arXiv:1910.02054,
sections 5 and 7. Gradients are those of what trains: the frozen base has none.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from goft_cli.verbs.plan.memory import Memory

AHEAD = 2
"""Blocks that are whole at a time where the weights are shared out: one works, the next comes."""


@dataclass(frozen=True)
class Parts:
    """Bytes of a model: what trains, and its largest block, which is gathered at once."""

    trained: int
    block: int


@dataclass(frozen=True)
class Way:
    """A way of sharing a training out.

    Attributes:
        name: of the way.
        training: bytes on each device, at most, during the training.
        checking: the same after it, when the model that is read again is whole on each device.
        sent: bytes that each device sends for an update of the weights.
    """

    name: str
    training: int
    checking: int
    sent: int


def parts_of_model(model: nn.Module) -> Parts:
    """Measure a model; blocks are the members of its module lists."""
    lists = [module for module in model.modules() if isinstance(module, nn.ModuleList)]
    blocks = [sum(p.nbytes for p in block.parameters()) for blocks in lists for block in blocks]
    trained = sum(p.nbytes for p in model.parameters() if p.requires_grad)
    return Parts(trained, max(blocks, default=0))


def ways(
    memory: Memory, parts: Parts, devices: int, steps: int, *, packed: bool = False
) -> list[Way]:
    """Work out each way on so many devices; packed weights cannot be shared out.

    `steps` batches make an update; `memory` is that of one device, a GPU's.
    """
    share = (devices - 1) / devices
    trained, optimizer = parts.trained, memory.optimizer

    def way(name: str, weights: float, gradients: float, kept: float, sent: float) -> Way:
        held = weights + kept
        training = held + gradients + memory.activations
        checking = held + memory.rebuilt + memory.scored
        return Way(name, round(training), round(checking), round(sent))

    copies = 2 if devices > 1 else 1  # the buckets of the exchange
    # one all-reduce in an update: the gradients of all but its last batch stay where they are
    found = [way("DDP", memory.weights, copies * trained, optimizer, 2 * share * trained)]
    if packed or devices == 1:
        return found
    # after each batch gradients are reduced to their owners; an update gathers what trains
    sent = share * trained * (steps + 1)
    found.append(way("ZeRO-2", memory.weights, trained, optimizer / devices, sent))
    # the weights are gathered for each forward and each backward pass
    sent = share * steps * (2 * memory.weights + trained)
    held = memory.weights / devices + AHEAD * parts.block
    gradients = trained / devices
    return [*found, way("ZeRO-3, FSDP2", held, gradients, optimizer / devices, sent)]
