"""From logits to answers, and from answers to the numbers of a table."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.cache_utils import Cache, DynamicLayer

from goft_cli.tasks.mmlu.questions import LETTERS, Prompt, Question

Answers = Sequence[Mapping[str, Any]]


def describe(
    questions: Sequence[Question], prompts: Sequence[Prompt], logits: Tensor
) -> list[dict[str, Any]]:
    """Return each question with the right answer, the model's, and how sure it was.

    Args:
        questions: of one subject.
        prompts: what the model was given for each.
        logits: (questions, letters); the largest one is the answer.
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
    """Return the accuracy of all answers and of each category's; every question counts alike.

    Args:
        answers: by subject.
        categories: subjects by category; a category without any question is left out.
    """
    members = {"average": list(answers), **categories}
    pooled = {
        name: [one for subject in subjects for one in answers.get(subject, [])]
        for name, subjects in members.items()
    }
    return {name: accuracy(found) for name, found in pooled.items() if found}


class PrefixLayer(DynamicLayer):
    """Keeps one layer's keys and values of the first pass, and lends them to every later one.

    `DynamicLayer` would add to them, and keep a copy for each row of a batch in all layers at once.
    """

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: object, **kwargs: object
    ) -> tuple[Tensor, Tensor]:
        """Keep the states of the prefix, or put them before those of each row.

        Args:
            key_states: (batch, heads, length, width); of the prefix, a batch of one.
            value_states: alike.
            args: what other sorts of cache take.
            kwargs: alike.
        """
        if not self.is_initialized:
            self.prefix = super().update(key_states, value_states)
            return self.prefix
        keys, values = (
            torch.cat([kept.expand(len(new), -1, -1, -1), new], dim=-2)
            for kept, new in zip(self.prefix, (key_states, value_states), strict=True)
        )
        return keys, values


@torch.no_grad()
def next_token_logits(
    model: PreTrainedModel,
    prompts: Sequence[np.ndarray],
    tokens: Sequence[int],
    *,
    batch_size: int,
    cache_prefix: bool,
    advance: Callable[[int], None],
) -> Tensor:
    """Compute the logits of some tokens right after each prompt, longest prompts first.

    Args:
        model: in evaluation mode, on its device.
        prompts: (length,) token ids each.
        tokens: whose logits to return.
        batch_size: prompts at a time.
        cache_prefix: whether to compute the common beginning once.
        advance: told how many prompts each batch had.

    Returns:
        (prompts, tokens) float32, on the CPU.
    """
    prefix = prompts[0][: common_length(prompts) if cache_prefix else 0]
    cache = prefix_cache(model, prefix) if len(prefix) else None
    logits = torch.empty(len(prompts), len(tokens))
    for rows in by_length(prompts, batch_size):
        ends = [prompts[row][len(prefix) :] for row in rows]
        logits[rows] = last_logits(model, ends, cache)[:, tokens].float().cpu()
        advance(len(rows))
    return logits


def common_length(prompts: Sequence[np.ndarray]) -> int:
    """Count the tokens that all prompts begin with; each keeps at least its last one."""
    shortest = min(map(len, prompts)) - 1
    heads = np.stack([prompt[:shortest] for prompt in prompts])
    same = (heads == heads[0]).all(axis=0)
    return shortest if same.all() else int(same.argmin())


def by_length(prompts: Sequence[np.ndarray], batch_size: int) -> Iterator[list[int]]:
    """Yield the prompts' indices in batches, longest first, so that there is little padding."""
    order = sorted(range(len(prompts)), key=lambda row: -len(prompts[row]))
    yield from (order[at : at + batch_size] for at in range(0, len(order), batch_size))


def prefix_cache(model: PreTrainedModel, prefix: np.ndarray) -> Cache:
    """Run the common beginning through the model and keep its keys and values."""
    cache = Cache(layer_class_to_replicate=PrefixLayer)
    last_logits(model, [prefix], cache)
    return cache


def last_logits(model: PreTrainedModel, ends: Sequence[np.ndarray], cache: Cache | None) -> Tensor:
    """Run one batch and return the logits after each row's last token.

    Rows are filled up on the right, where a causal model looks at nothing: no mask is needed, and
    a sliding window counts no padding. The head is handed the last tokens alone, so that logits of
    other positions are never computed; `logits_to_keep` knows one position for all rows only.

    Args:
        model: in evaluation mode, on its device.
        ends: (length,) token ids each, without what is in the cache.
        cache: keys and values of what stands before all of them.

    Returns:
        (batch, vocabulary) logits.
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
