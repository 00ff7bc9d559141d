"""Sampling with random numbers of each row's own, so that neighbours in a batch do not matter."""

from __future__ import annotations

import torch
from torch import Tensor
from transformers import (
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

TOP_K = 50  # what transformers' generate takes where the model's generation_config says nothing


def samplers(
    generation: GenerationConfig, temperature: float, uniforms: Tensor
) -> LogitsProcessorList:
    """Return what turns greedy decoding into sampling, as `generate(do_sample=True)` would filter.

    FastChat passes the temperature alone, so the model's own top_k and top_p hold.

    Args:
        generation: of the model.
        temperature: above 0.
        uniforms: (rows, steps) in [0, 1), on the model's device; one number per token to draw.
    """
    top_k = TOP_K if generation.top_k is None else generation.top_k
    top_p = 1.0 if generation.top_p is None else generation.top_p
    steps: list[LogitsProcessor] = [TemperatureLogitsWarper(temperature)]
    if top_k > 0:
        steps.append(TopKLogitsWarper(top_k))
    if top_p < 1:
        steps.append(TopPLogitsWarper(top_p))
    return LogitsProcessorList([*steps, SeededChoice(uniforms)])


def draw_uniforms(seeds: list[int], steps: int) -> Tensor:
    """Return (rows, steps) numbers in [0, 1), each row from its own seed, drawn on the CPU."""
    return torch.stack(
        [torch.rand(steps, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
    )


class SeededChoice(LogitsProcessor):
    """Leaves one token per row: where the distribution function passes the row's next number."""

    def __init__(self, uniforms: Tensor) -> None:
        self.uniforms = uniforms
        self.step = 0

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Choose.

        Args:
            input_ids: (rows, length) so far.
            scores: (rows, vocabulary) float32 logits, -inf where a filter took a token out.

        Returns:
            (rows, vocabulary): 0 for the chosen token, -inf for the others.
        """
        cumulative = scores.softmax(dim=-1).cumsum(dim=-1)
        # Times the last value, because rounding lets the sum miss 1.
        threshold = self.uniforms[:, self.step, None] * cumulative[:, -1:]
        self.step += 1
        chosen = torch.searchsorted(cumulative, threshold, right=True)
        return torch.full_like(scores, -torch.inf).scatter(1, chosen, 0.0)
