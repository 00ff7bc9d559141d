"""Answers of the model under test, a batch of equally tempered questions at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from rich.progress import track

from goft_cli.config import ChatTemplate, VicunaConfig
from goft_cli.system.digests import fingerprint
from goft_cli.system.errors import GoftError
from goft_cli.system.screen import console
from goft_cli.tasks.generation import room_after, seed_of, stop_tokens, write_batch
from goft_cli.tasks.instruction.rows import PREAMBLE, SEPARATOR, encode_prompts
from goft_cli.tasks.tokens import Model, Tokenizer, text_start, usable_positions
from goft_cli.tasks.vicuna.questions import Question, Records, Row, answer_text, json_digest
from goft_cli.tuner.strength import strength_of


@dataclass(frozen=True)
class Prompt:
    """What the model is asked, and how; `answer_id` is a digest of all that determines the answer.

    A temperature of 0 takes the likeliest token always.
    """

    question_id: int
    ids: list[int]
    temperature: float
    seed: int
    answer_id: str


def generate_answers(
    model: Model,
    tokenizer: Tokenizer,
    questions: Sequence[Question],
    config: VicunaConfig,
    records: Records,
    *,
    model_id: str,
    batch_size: int,
) -> dict[int, str]:
    """Answer every question, except those that `records` holds answers to from the same model.

    An answer depends on the rest of its batch by rounding only, and an interrupted batch is done
    again as a whole: resuming gives the bytes that an uninterrupted run gives, another batch size
    nearly always.
    """
    prompts = make_prompts(model, tokenizer, questions, config)
    answers = {row["answer_id"]: answer_text(row) for row in records.read()}
    batches = list(batched(prompts, batch_size))
    for batch in track(batches, "answers", console=console, disable=not console.is_terminal):
        missing = [prompt for prompt in batch if prompt.answer_id not in answers]
        if not missing:
            continue
        found = generate(model, tokenizer, batch, config)
        for prompt in missing:
            answers[prompt.answer_id] = found[prompt.answer_id]
            records.append(as_row(prompt, found[prompt.answer_id], model_id))
    return {prompt.question_id: answers[prompt.answer_id] for prompt in prompts}


def make_prompts(
    model: Model, tokenizer: Tokenizer, questions: Sequence[Question], config: VicunaConfig
) -> list[Prompt]:
    """Encode the questions and set temperature, seed and identity of each."""
    generation, strength = model.generation_config, strength_of(model)
    # the strength is in no parameter; alone, the fingerprint is the identity of earlier answers
    weights = [fingerprint(model)] if strength == 1 else [fingerprint(model), strength]
    prompts = []
    for question in questions:
        ids = encode(question.text, config.chat_template, tokenizer)
        temperature = config.temperatures.get(question.category, config.temperature)
        seed = seed_of(config, question.question_id)
        top_p = config.top_p or generation.top_p
        shared = [*weights, config.max_new_tokens, generation.top_k, top_p]
        own = [question.question_id, ids, temperature, seed, *config.stop]
        digest = json_digest([*shared, *own])
        prompts.append(Prompt(question.question_id, ids, temperature, seed, digest))
    require_positions(model, prompts, config.max_new_tokens)
    return prompts


def encode(question: str, template: ChatTemplate, tokenizer: Tokenizer) -> list[int]:
    """Return token ids of the prompt: `alpaca` exactly as in training, or FastChat's text."""
    if template is ChatTemplate.alpaca:
        return encode_prompts([question], tokenizer)[0]
    # fastchat/conversation.py, one text
    prompt = f"{PREAMBLE}{SEPARATOR}### Instruction: {question}{SEPARATOR}### Response:"
    return [*text_start(tokenizer), *tokenizer(prompt, add_special_tokens=False).input_ids]


def require_positions(model: Model, prompts: Sequence[Prompt], max_new_tokens: int) -> None:
    """Refuse prompts that leave too little room for an answer; the longest is named."""
    positions = usable_positions(model)
    longest = max(prompts, key=lambda prompt: len(prompt.ids))
    room = room_after([longest.ids], positions, max_new_tokens)
    if room < max_new_tokens:
        raise GoftError(
            f"question {longest.question_id} takes {len(longest.ids)} tokens and the model has "
            f"{positions} positions, too few for task.max_new_tokens={max_new_tokens}",
            f"pass task.max_new_tokens={room}" if room > 0 else "shorten the question",
        )


def batched(prompts: Sequence[Prompt], size: int) -> Iterator[list[Prompt]]:
    """Cut into batches of one temperature each, similar lengths together, the longest first."""
    ordered = sorted(prompts, key=lambda prompt: (prompt.temperature, -len(prompt.ids)))
    for _, group in groupby(ordered, key=lambda prompt: prompt.temperature):
        alike = list(group)
        yield from (alike[start : start + size] for start in range(0, len(alike), size))


def generate(
    model: Model, tokenizer: Tokenizer, batch: Sequence[Prompt], config: VicunaConfig
) -> dict[str, str]:
    """Return the answers to one batch of a common temperature, by their ids."""
    texts = write_batch(
        model,
        [prompt.ids for prompt in batch],
        tokenizer,
        stops=stop_tokens(model, tokenizer),
        decoding=replace(config, temperature=batch[0].temperature),
        seeds=[prompt.seed for prompt in batch],
    )
    return {prompt.answer_id: text.strip() for prompt, text in zip(batch, texts, strict=True)}


def as_row(prompt: Prompt, answer: str, model_id: str) -> Row:
    """Return an answer in FastChat's format, without the time: equal runs write equal files."""
    return {
        "question_id": prompt.question_id,
        "answer_id": prompt.answer_id,
        "model_id": model_id,
        "choices": [{"index": 0, "turns": [answer]}],
    }
