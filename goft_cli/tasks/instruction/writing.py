"""Let the model write its answers, one token after the other, always the likeliest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from transformers import GenerationConfig, PreTrainedTokenizerBase

from goft_cli.errors import GoftError
from goft_cli.positions import usable_positions
from goft_cli.tasks.instruction.batches import padded, padding_id
from goft_cli.tasks.instruction.template import Ids, end_id


def write(
    model: Any,  # noqa: ANN401 - a model of transformers or PEFT, which share no type that generates
    prompts: Sequence[Ids],
    tokenizer: PreTrainedTokenizerBase,
    *,
    batch_size: int,
    max_new_tokens: int,
) -> list[str]:
    """Return the model's answer to each prompt.

    Args:
        model: in evaluation mode, on its device.
        prompts: token ids.
        tokenizer: of the model.
        batch_size: prompts at a time.
        max_new_tokens: where an answer is broken off.

    Raises:
        GoftError: a prompt leaves no room for an answer.
    """
    context = usable_positions(model)
    check_room(prompts, context)
    answers: list[str] = []
    for start in range(0, len(prompts), batch_size):
        batch = prompts[start : start + batch_size]
        room = max_new_tokens if context is None else context - max(map(len, batch))
        written = continue_batch(model, batch, tokenizer, min(room, max_new_tokens))
        answers += tokenizer.batch_decode(written, skip_special_tokens=True)
    return answers


def check_room(prompts: Sequence[Ids], context: int | None) -> None:
    """Refuse a prompt that fills the model's context.

    Raises:
        GoftError: names the row.
    """
    for number, prompt in enumerate(prompts, start=1):
        if context is not None and len(prompt) >= context:
            raise GoftError(
                f"row {number}: its prompt has {len(prompt)} tokens and the model takes {context}",
                "shorten the text",
            )


@torch.no_grad()
def continue_batch(
    model: Any,  # noqa: ANN401 - as above
    prompts: Sequence[Ids],
    tokenizer: PreTrainedTokenizerBase,
    max_new_tokens: int,
) -> torch.Tensor:
    """Return the new tokens after each prompt, (rows, at most max_new_tokens)."""
    # Padded on the left, so that the new tokens follow directly on each prompt.
    ids = padded(prompts, padding_id(tokenizer), side="left")
    mask = padded([[1] * len(prompt) for prompt in prompts], 0, side="left")
    # A configuration of its own: that of the model may ask for sampling.
    greedy = GenerationConfig(
        do_sample=False,
        max_new_tokens=max_new_tokens,
        eos_token_id=end_id(tokenizer),
        pad_token_id=padding_id(tokenizer),
    )
    found = model.generate(
        input_ids=ids.to(model.device),
        attention_mask=mask.to(model.device),
        generation_config=greedy,
    )
    return found[:, ids.shape[1] :]
