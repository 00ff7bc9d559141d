"""The functions that the three pretrainings share: determinism, the training loop, saving."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from tqdm import tqdm
from transformers import PreTrainedModel, get_cosine_schedule_with_warmup

Batch = dict[str, Tensor]


@dataclass(frozen=True)
class Recipe:
    """The number of steps and the optimizer settings of one pretraining."""

    steps: int
    learning_rate: float
    batch_size: int
    warmup: float = 0.06
    weight_decay: float = 0.01


@dataclass(frozen=True)
class Loss:
    """The output of a model that computes only its loss."""

    loss: Tensor


@dataclass(frozen=True)
class Outcome:
    """The losses of a pretraining in nats, and its duration."""

    loss: float
    held_out: float
    untrained: float
    seconds: float


def make_deterministic(seed: int, threads: int = 1) -> None:
    """Fix what could change the last bit: seed, kernels and the number of threads."""
    torch.manual_seed(seed)
    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(threads)


def pretrain(
    model: nn.Module,
    batches: Iterator[Batch],
    recipe: Recipe,
    measure: Callable[[], float],
    title: str,
) -> Outcome:
    """Train every parameter with AdamW and a cosine schedule.

    Args:
        model: returns an output with `.loss` for a batch.
        batches: endless training batches.
        recipe: steps, learning rate, warm-up share, weight decay.
        measure: returns the held-out loss of the current model, in evaluation mode.
        title: name on the progress bar.
    """
    untrained = measure()
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay
    )
    schedule = get_cosine_schedule_with_warmup(
        optimizer, int(recipe.warmup * recipe.steps), recipe.steps
    )
    started, smooth = time.monotonic(), untrained
    model.train()
    with tqdm(range(recipe.steps), desc=title, unit="step", mininterval=1) as progress:
        for _ in progress:
            loss = model(**next(batches)).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            smooth += 0.02 * (loss.item() - smooth)
            progress.set_postfix(loss=f"{smooth:.3f}", refresh=False)
    model.eval()
    return Outcome(smooth, measure(), untrained, time.monotonic() - started)


def save(model: PreTrainedModel, folder: Path, card: str) -> None:
    """Write float32 safetensors, config and model card."""
    model.save_pretrained(folder)
    # save_pretrained makes weights readable by their owner only; all must read a package's data.
    (folder / "model.safetensors").chmod(0o644)
    (folder / "README.md").write_text(card, encoding="utf-8")


def shuffled_batches(lengths: list[int], batch_size: int, seed: int) -> Iterator[list[int]]:
    """Yield batches of indices endlessly; the rows of a batch have similar lengths."""
    generator = torch.Generator().manual_seed(seed)
    pool = batch_size * 50
    while True:
        order: list[int] = torch.randperm(len(lengths), generator=generator).tolist()
        for start in range(0, len(order) - batch_size + 1, pool):
            chunk = sorted(order[start : start + pool], key=lambda index: lengths[index])
            groups = [chunk[i : i + batch_size] for i in range(0, len(chunk), batch_size)]
            for pick in torch.randperm(len(groups), generator=generator).tolist():
                yield groups[pick]


def padded(rows: list[list[int]], value: int) -> Tensor:
    """Stack rows of token ids into (rows, longest), padded with `value` on the right."""
    width = max(map(len, rows))
    return torch.tensor([row + [value] * (width - len(row)) for row in rows])
