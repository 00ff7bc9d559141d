"""The loss of each example, found in the logits of a batch, padded or packed."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, pad

IGNORED = -100
"""The label of a token that is not scored."""


def example_losses(logits: Tensor, labels: Tensor) -> Tensor:
    """Sum the negative log-likelihood of each example's scored tokens.

    An example is one run of labels, since a prompt, which is not scored, comes before each answer.
    That holds for padded rows and for examples laid end to end.

    Args:
        logits: (rows, length, vocabulary) in any precision; those at i predict the label at i + 1.
        labels: (rows, length), `IGNORED` where a token is not scored, which the first one is not.

    Returns:
        (examples, 2) in float32: the sum in nats, and the number of tokens.
    """
    scored = labels != IGNORED
    begins = scored & ~pad(scored, (1, 0))[:, :-1]
    run = begins.flatten().cumsum(0)[scored.flatten()]
    counts = run.unique_consecutive(return_counts=True)[1]
    answers = scored[:, 1:]
    # Only the scored logits go to float32: there are vocabulary times more of them than tokens.
    losses = cross_entropy(
        logits[:, :-1][answers].float(), labels[:, 1:][answers], reduction="none"
    )
    sums = [part.sum() for part in losses.split(counts.tolist())]
    return torch.stack([torch.stack(sums), counts.float()], dim=1)
