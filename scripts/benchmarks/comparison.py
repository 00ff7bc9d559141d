"""The comparison of adapters: memory, training steps, forward passes, in that order."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import nn

from benchmarks import inference, memory, shapes
from benchmarks.methods import CONFIGS, FROZEN, PROBE, Attach, Prepared, prepare
from benchmarks.options import Options
from benchmarks.progress import progress
from benchmarks.rounds import Plan, interleave
from benchmarks.training import Trainee


@dataclass
class Measured:
    """Raw measurements by method; times in seconds, memory in bytes."""

    adapter_parameters: dict[str, int] = field(default_factory=dict)
    loss: dict[str, float] = field(default_factory=dict)
    training: dict[str, list[float]] = field(default_factory=dict)
    memory: dict[str, list[int]] = field(default_factory=dict)
    unmerged: dict[str, list[float]] = field(default_factory=dict)
    merged: dict[str, dict[str, list[float]]] = field(default_factory=dict)


class Comparison:
    """One shape, one size, several methods."""

    def __init__(self, options: Options, others: dict[str, Attach]) -> None:
        self.options, self.others = options, others
        self.shape, self.device = options.chosen_shape, options.torch_device
        self.names = options.names(others)
        self.plan = Plan(options.rounds, options.warmup, options.seed, self.device)

    def run(self, script: Path, words: Sequence[str]) -> Measured:
        """Measure everything asked for; `script` with `words` is this program's command line."""
        measured = Measured()
        if self.options.memory and self.device.type == "cpu":
            measured.memory = self.memory_in_processes(script, words)
        self.load()
        if self.options.memory and self.device.type == "cuda":
            measured.memory = self.memory_here()
        models = self.train(measured)
        self.infer(models, measured)
        return measured

    def load(self) -> None:
        """Build the frozen model and a batch, and run them once: libraries grow at first use."""
        torch.manual_seed(self.options.seed)
        size, dtype = self.options.size, self.options.torch_dtype
        self.base = shapes.build(self.shape, size, dtype, self.device)
        self.inputs = shapes.batch(self.shape, size, dtype, self.device)
        self.trainee(FROZEN)[1].step()

    def trainee(self, name: str) -> tuple[Prepared, Trainee]:
        """Return a method in its own copy of the model, in training mode."""
        torch.manual_seed(self.options.seed)
        prepared = prepare(
            name,
            self.base,
            self.shape,
            steps=self.plan.total,
            input_grads=self.options.input_grads,
            others=self.others,
        )
        prepared.model.train()
        return prepared, Trainee(prepared, self.inputs)

    def growth(self, name: str) -> int:
        """Return the bytes that training one method takes beside the frozen model."""
        bytes_ = memory.growth(lambda: self.trainee(name)[1].step, self.device)
        gc.collect()
        return bytes_

    def memory_here(self) -> dict[str, list[int]]:
        """One after the other in this process: a GPU's allocator counts exactly."""
        with progress("memory", len(self.names)) as tick:
            found: dict[str, list[int]] = {}
            for name in self.names:
                tick(name)
                found[name] = [self.growth(name)]
        return found

    def memory_in_processes(self, script: Path, words: Sequence[str]) -> dict[str, list[int]]:
        """Each method and repeat in a fresh process, before this one loads a model itself."""
        repeats, found = self.options.memory_repeats, {name: [] for name in self.names}
        with progress("memory", repeats * len(found)) as tick:
            for _ in range(repeats):
                for name, growths in found.items():
                    tick(name)
                    growths.append(memory.in_fresh_process(script, words, name))
        return found

    def train(self, measured: Measured) -> dict[str, nn.Module]:
        """Time training steps; return the models that hold an adapter."""
        ready = {name: self.trainee(name) for name in self.names}
        actions = {name: trainee.step for name, (_, trainee) in ready.items()}
        with progress("training", len(ready) * self.plan.total) as tick:
            measured.training = interleave(actions, self.plan, tick)
        for name, (prepared, trainee) in ready.items():
            measured.adapter_parameters[name] = prepared.adapter_parameters
            measured.loss[name] = trainee.loss.item()
        return {n: p.model for n, (p, _) in ready.items() if n not in (FROZEN, PROBE)}

    def infer(self, models: dict[str, nn.Module], measured: Measured) -> None:
        """Time forward passes, unmerged together and merged one method at a time."""
        mergeable = [name for name in models if name in CONFIGS]
        with progress("forward", (len(models) + 1) * self.plan.total) as tick:
            measured.unmerged = inference.unmerged(self.base, models, self.inputs, self.plan, tick)
        with progress("merged", len(mergeable)) as tick:
            for name in mergeable:
                tick(name)
                model = models.pop(name)
                measured.merged[name] = inference.merged(self.base, model, self.inputs, self.plan)
                del model
                gc.collect()
