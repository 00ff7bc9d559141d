"""Cross entropy with class weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from transformers.utils.generic import ModelOutput

from goft_cli.tasks.tokens import IGNORED


class WeightedLoss:
    """A `compute_loss_func` of Trainer: weighted in training, the plain mean in evaluation.

    The sum of weight times loss is divided by the number of rows of the update over all
    micro-batches and processes, not by the sum of their weights, as in torch: so the gradient does
    not depend on how rows are batched. The balanced weights of all training rows have the mean 1.
    """

    def __init__(self, weights: np.ndarray, smoothing: float = 0.0) -> None:
        self.weights = torch.as_tensor(weights, dtype=torch.float32)
        self.smoothing = smoothing

    def __call__(
        self, outputs: ModelOutput, labels: Tensor, num_items_in_batch: Tensor | int | None = None
    ) -> Tensor:
        """Return the loss of (..., classes) logits and (...) labels; -100 is ignored."""
        logits: Any = outputs["logits"]
        flat, targets = logits.flatten(0, -2).float(), labels.flatten()
        options: dict[str, Any] = {"label_smoothing": self.smoothing, "ignore_index": IGNORED}
        if num_items_in_batch is None:  # an evaluation: Trainer counts them for an update alone
            return functional.cross_entropy(flat, targets, **options)
        losses = functional.cross_entropy(flat, targets, reduction="none", **options)
        weights = self.weights.to(losses.device)[targets.clamp(min=0)]
        return (losses * weights).sum() / num_items_in_batch
