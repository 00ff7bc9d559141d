"""Text generation: greedy, or sampled with random numbers for each row.

Each row has its own random numbers, so that sampling is repeatable and does not depend on the other
rows of the batch.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import groupby
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import (
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
    StoppingCriteria,
    StoppingCriteriaList,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from goft_cli.config import Decoding
from goft_cli.system.errors import GoftError
from goft_cli.tasks.tokens import AnyModel, Tokenizer, usable_positions

TOP_K = 50  # the default of transformers' generate without a top_k in generation_config

Ids = list[int]


def write(
    model: AnyModel,
    prompts: Sequence[Ids],
    tokenizer: Tokenizer,
    *,
    stops: Sequence[int],
    batch_size: int,
    decoding: Decoding,
    numbers: Sequence[int] = (),
) -> list[str]:
    """Return the answer to each prompt, shorter where the model's positions end.

    Prompts are answered in batches of similar length, the longest first; all prompts of a batch
    leave equally many positions for an answer. The sampled tokens of a row depend only on the seed
    and the row's number, by default its index; the other rows of a batch have an effect only
    through rounding.
    """
    positions = usable_positions(model)
    numbers = numbers or range(len(prompts))
    check_prompts(prompts, positions, numbers)
    order = sorted(range(len(prompts)), key=lambda row: -len(prompts[row]))
    answers = [""] * len(prompts)

    def room_of(row: int) -> int:
        return room_after([prompts[row]], positions, decoding.max_new_tokens)

    for room, group in groupby(order, key=room_of):
        alike = list(group)
        for start in range(0, len(alike), batch_size):
            rows = alike[start : start + batch_size]
            found = write_batch(
                model,
                [prompts[row] for row in rows],
                tokenizer,
                stops=stops,
                decoding=replace(decoding, max_new_tokens=room),
                seeds=[seed_of(decoding, numbers[row]) for row in rows],
            )
            for row, answer in zip(rows, found, strict=True):
                answers[row] = answer
    return answers


def check_prompts(prompts: Sequence[Ids], positions: int | None, numbers: Sequence[int]) -> None:
    """Refuse a prompt that leaves no position for an answer; `numbers` count rows from 0."""
    for number, prompt in zip(numbers, prompts, strict=True):
        if reason := too_long(prompt, positions):
            raise GoftError(f"row {number + 1}: {reason}", "shorten the text")


def too_long(prompt: Ids, positions: int | None) -> str | None:
    """Return why a prompt leaves no position for an answer; None if it does."""
    if room_after([prompt], positions, 1) >= 1:
        return None
    return f"its prompt has {len(prompt)} tokens and the model takes {positions}"


def room_after(prompts: Sequence[Ids], positions: int | None, wanted: int) -> int:
    """Return how many tokens a model can generate after the longest prompt, at most `wanted`."""
    return wanted if positions is None else min(wanted, positions - max(map(len, prompts)))


@torch.inference_mode()
def write_batch(
    model: AnyModel,
    prompts: Sequence[Ids],
    tokenizer: Tokenizer,
    *,
    stops: Sequence[int],
    decoding: Decoding,
    seeds: Sequence[int],
) -> list[str]:
    """Return the answer to each prompt, up to a token of `stops`, a stop word or the last token.

    The model is in evaluation mode, on its device. With a temperature each prompt has its own seed.
    """
    words, added = decoding.stop, cast("dict[str, int]", cast(Any, tokenizer).get_added_vocab())
    padding = cast("int | None", tokenizer.pad_token_id)
    padding = stops[0] if padding is None else padding
    # Padded on the left, so that the new tokens follow directly on each prompt.
    pad = partial(pad_sequence, batch_first=True, padding_side="left")
    ids = pad([torch.tensor(prompt) for prompt in prompts], padding_value=padding)
    mask = pad([torch.ones(len(prompt), dtype=torch.long) for prompt in prompts])
    sampling = None
    if decoding.temperature > 0:
        uniforms = draw_uniforms(seeds, decoding.max_new_tokens).to(model.device)
        sampling = samplers(model.generation_config, decoding, uniforms)
    # A new configuration, because the model's own may switch on sampling.
    settings = GenerationConfig(
        do_sample=False,  # `sampling` leaves a single token to choose
        max_new_tokens=decoding.max_new_tokens,
        eos_token_id=[*stops, *(added[word] for word in words if word in added)],
        pad_token_id=padding,
    )
    found = model.generate(
        input_ids=ids.to(model.device),
        attention_mask=mask.to(model.device),
        generation_config=settings,
        logits_processor=sampling,
        stopping_criteria=StoppingCriteriaList(
            [StopWords(words, tokenizer, ids.shape[1])] if words else []
        ),
    )
    answers = tokenizer.batch_decode(found[:, ids.shape[1] :], skip_special_tokens=True)
    return [until(answer, words) for answer in answers]


def until(text: str, words: Sequence[str]) -> str:
    """Return a text up to where the first of the words begins in it."""
    return text[: min((at for word in words if (at := text.find(word)) >= 0), default=None)]


def seed_of(decoding: Decoding, name: object) -> int:
    """Return the seed of one answer, by the number or the name of its row."""
    return zlib.crc32(f"{decoding.seed}/{name}".encode())


def stop_tokens(model: AnyModel, tokenizer: Tokenizer) -> list[int]:
    """Return the tokens that end an answer: the model's, or its tokenizer's."""
    known = model.generation_config.eos_token_id
    own = cast("int | None", tokenizer.eos_token_id)
    ids = {*(known if isinstance(known, list) else [known]), own} - {None}
    if not ids:
        raise GoftError(
            f"{tokenizer.name_or_path}: no end-of-text token, so no answer would end",
            "set eos_token in tokenizer_config.json",
        )
    return sorted(ids)


def samplers(
    generation: GenerationConfig, decoding: Decoding, uniforms: Tensor
) -> LogitsProcessorList:
    """Return the processors that make greedy decoding sample, as `generate(do_sample=True)` would.

    As there, the model's own top_k is used, and its top_p if none is given. The temperature is
    above 0. The uniforms are (rows, steps) in [0, 1), on the model's device, one per token.
    """
    top_k = TOP_K if generation.top_k is None else generation.top_k
    top_p = decoding.top_p or generation.top_p or 1.0
    steps: list[LogitsProcessor] = [TemperatureLogitsWarper(decoding.temperature)]
    if top_k > 0:
        steps.append(TopKLogitsWarper(top_k))
    if top_p < 1:
        steps.append(TopPLogitsWarper(top_p))
    return LogitsProcessorList([*steps, SeededChoice(uniforms)])


def draw_uniforms(seeds: Sequence[int], steps: int) -> Tensor:
    """Return (rows, steps) numbers in [0, 1), each row from its own seed, drawn on the CPU."""
    return torch.stack(
        [torch.rand(steps, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
    )


class SeededChoice(LogitsProcessor):
    """Keeps one token per row: the first whose cumulative probability exceeds the row's number."""

    def __init__(self, uniforms: Tensor) -> None:
        self.uniforms = uniforms
        self.step = 0

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Return (rows, vocabulary): 0 for the chosen token, -inf for the others.

        The scores are (rows, vocabulary) float32 logits, -inf where a filter took a token out.
        """
        cumulative = scores.softmax(dim=-1).cumsum(dim=-1)
        # Times the last value, because rounding lets the sum miss 1.
        threshold = self.uniforms[:, self.step, None] * cumulative[:, -1:]
        self.step += 1
        chosen = torch.searchsorted(cumulative, threshold, right=True)
        return torch.full_like(scores, -torch.inf).scatter(1, chosen, 0.0)


class StopWords(StoppingCriteria):
    """Ends a row when its answer contains a stop word.

    The criterion of transformers compares tokens, and misses a character made of several tokens.
    """

    def __init__(self, words: Sequence[str], tokenizer: Tokenizer, start: int) -> None:
        self.words, self.tokenizer, self.start = words, tokenizer, start
        # a token has at least one byte; plus one, because a text's first token may lose its blank
        self.longest = max(len(word.encode()) for word in words) + 1

    def __call__(self, input_ids: Tensor, scores: Any, **_: object) -> Any:  # noqa: ANN401 - as there
        """Return (rows,) booleans; `input_ids` has the prompts, up to `start`, and the answers."""
        last = input_ids[:, max(self.start, input_ids.shape[1] - self.longest) :]
        texts = self.tokenizer.batch_decode(last, skip_special_tokens=True)
        ended = [any(word in text for word in self.words) for text in texts]
        return torch.tensor(ended, device=input_ids.device)
