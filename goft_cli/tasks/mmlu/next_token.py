"""Next-token logits with a shared prompt prefix, the answers, and their averages."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from transformers.cache_utils import Cache, DynamicLayer

from goft_cli.tasks.mmlu.questions import LETTERS, Prompt, Question
from goft_cli.tasks.tokens import Model

Answers = Sequence[Mapping[str, Any]]


def answer_rows(
    questions: Sequence[Question], prompts: Sequence[Prompt], logits: Tensor
) -> list[dict[str, Any]]:
    """Return each question of a subject with the right answer, the model's, and its probability.

    The largest of the (questions, letters) logits is the answer.
    """
    probabilities = logits.softmax(dim=-1).tolist()
    best = logits.argmax(dim=-1).tolist()
    return [
        {
            "subject": question.subject,
            "question": question.question,
            "choices": list(question.choices),
            "exemplars": len(prompt.exemplars),
            "shortened": prompt.shortened,
            "answer": LETTERS[question.answer],
            "prediction": LETTERS[chosen],
            "probabilities": shares,
        }
        for question, prompt, chosen, shares in zip(
            questions, prompts, best, probabilities, strict=True
        )
    ]


def accuracy(answers: Answers) -> float:
    """Return the share of answers that are right."""
    return sum(one["prediction"] == one["answer"] for one in answers) / len(answers)


def averages(
    answers: Mapping[str, Answers], categories: Mapping[str, Sequence[str]]
) -> dict[str, float]:
    """Return the accuracy of all answers, by subject, and of each category that has any.

    Every question has the same weight.
    """
    members = {"average": list(answers), **categories}
    pooled = {
        name: [one for subject in subjects for one in answers.get(subject, [])]
        for name, subjects in members.items()
    }
    return {name: accuracy(found) for name, found in pooled.items() if found}


class PrefixLayer(DynamicLayer):
    """Stores one layer's keys and values of the first pass for all later passes.

    `DynamicLayer` would extend them, and hold a copy for each row of a batch in all layers at once.
    """

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: object, **kwargs: object
    ) -> tuple[Tensor, Tensor]:
        """Store the prefix's states in the first pass; later, prepend them to those of each row.

        Both are (batch, heads, length, width); the prefix has a batch of one.
        """
        if not self.is_initialized:
            self.prefix = super().update(key_states, value_states)
            return self.prefix
        keys, values = (
            torch.cat([kept.expand(len(new), -1, -1, -1), new], dim=-2)
            for kept, new in zip(self.prefix, (key_states, value_states), strict=True)
        )
        return keys, values


@torch.inference_mode()
def next_token_logits(
    model: Model,
    prompts: Sequence[np.ndarray],
    tokens: Sequence[int],
    *,
    batch_size: int,
    cache_prefix: bool,
    advance: Callable[[int], None],
) -> Tensor:
    """Return (prompts, tokens) float32 logits of some tokens after each prompt, on the CPU.

    The model is in evaluation mode, on its device; each prompt is (length,) token ids. Longest
    prompts come first, and `advance` gets the number of prompts of each batch.
    """
    prefix = prompts[0][: common_length(prompts) if cache_prefix else 0]
    cache = None
    if len(prefix):
        cache = Cache(layer_class_to_replicate=PrefixLayer)
        last_logits(model, [prefix], cache)
    logits = torch.empty(len(prompts), len(tokens))
    for rows in by_length(prompts, batch_size):
        ends = [prompts[row][len(prefix) :] for row in rows]
        logits[rows] = last_logits(model, ends, cache)[:, tokens].float().cpu()
        advance(len(rows))
    return logits


def common_length(prompts: Sequence[np.ndarray]) -> int:
    """Count the leading tokens that all prompts share, without the last token of any prompt."""
    shortest = min(map(len, prompts)) - 1
    heads = np.stack([prompt[:shortest] for prompt in prompts])
    same = (heads == heads[0]).all(axis=0)
    return shortest if same.all() else int(same.argmin())


def by_length(prompts: Sequence[np.ndarray], batch_size: int) -> Iterator[list[int]]:
    """Yield the prompts' indices in batches, longest first, so that there is little padding."""
    order = sorted(range(len(prompts)), key=lambda row: -len(prompts[row]))
    yield from (order[at : at + batch_size] for at in range(0, len(order), batch_size))


def last_logits(model: Model, ends: Sequence[np.ndarray], cache: Cache | None) -> Tensor:
    """Return (batch, vocabulary) logits after the last token of each of the `ends`.

    Rows are padded on the right, to which a causal model does not attend: no mask is needed, and a
    sliding window contains no padding. The head gets only the last tokens, so that no other logits
    are computed; `logits_to_keep` accepts only the same positions for all rows.
    """
    longest = max(map(len, ends))
    filled = np.stack([np.pad(end, (0, longest - len(end)), mode="edge") for end in ends])
    rows, last = np.arange(len(ends)), np.array([len(end) - 1 for end in ends])

    def pick(_: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return (inputs[0][rows, last][:, None], *inputs[1:])

    head = cast("nn.Module", model.get_output_embeddings())
    hook = head.register_forward_pre_hook(pick)
    try:
        ids = torch.as_tensor(filled, dtype=torch.long, device=model.device)
        outputs = model(input_ids=ids, past_key_values=cache, use_cache=cache is not None)
    finally:
        hook.remove()
    return outputs.logits[:, -1]
