"""Pretrain tiny-llama, a LLaMA decoder with a byte-level BPE tokenizer, on the next token."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from scripts.demo_rows.acceptability import corpus
from scripts.demo_rows.facts import texts
from scripts.tiny_models.cards import card
from scripts.tiny_models.training import (
    Batch,
    Outcome,
    Recipe,
    make_deterministic,
    padded,
    pretrain,
    save,
    shuffled_batches,
)

NAME = "tiny-llama"
PAD, BOS, EOS = SPECIAL = ("<pad>", "<s>", "</s>")
VOCABULARY = 768
RECIPE = Recipe(steps=2000, learning_rate=3e-3, batch_size=48)
SENTENCES = 15_000
FACTS = 40_000
IGNORED = -100


def build_tokenizer(lines: list[str]) -> PreTrainedTokenizerFast:
    """Train a byte-level BPE on the texts; any other text falls back to bytes."""
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator(lines, trainer)
    core.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", pair=f"{BOS} $A $B", special_tokens=[(BOS, SPECIAL.index(BOS))]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        model_max_length=256,
        model_input_names=["input_ids", "attention_mask"],
        padding_side="left",
        pad_token=PAD,
        bos_token=BOS,
        eos_token=EOS,
    )


def build_config(vocab_size: int) -> LlamaConfig:
    """Return the configuration of a LLaMA of about a quarter of a million parameters."""
    return LlamaConfig(
        vocab_size=vocab_size,
        hidden_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=4,
        intermediate_size=256,
        max_position_embeddings=256,
        tie_word_embeddings=True,
        pad_token_id=SPECIAL.index(PAD),
        bos_token_id=SPECIAL.index(BOS),
        eos_token_id=SPECIAL.index(EOS),
    )


def collate(rows: list[list[int]]) -> Batch:
    """Pad on the right; every token is a label, the end-of-sequence token included."""
    ids = padded(rows, SPECIAL.index(PAD))
    mask = (ids != SPECIAL.index(PAD)).long()
    return {"input_ids": ids, "attention_mask": mask, "labels": ids.where(mask.bool(), IGNORED)}


def make(folder: Path, seed: int, steps: int | None = None) -> Outcome:
    """Pretrain the decoder and write model, tokenizer and card into `folder`."""
    make_deterministic(seed)
    recipe = RECIPE if steps is None else Recipe(steps, RECIPE.learning_rate, RECIPE.batch_size)
    limit = recipe.steps * recipe.batch_size
    lines = list(chain(corpus(min(SENTENCES, limit), seed), texts(min(FACTS, limit), seed)))
    tokenizer = build_tokenizer(lines)
    model = LlamaForCausalLM(build_config(len(tokenizer)))

    def encode(some: list[str]) -> list[list[int]]:
        return [[*ids, SPECIAL.index(EOS)] for ids in tokenizer(some)["input_ids"]]

    rows = encode(lines)
    fresh = collate(encode([*corpus(300, seed + 1), *texts(300, seed + 1)]))

    def batches() -> Iterator[Batch]:
        for group in shuffled_batches(list(map(len, rows)), recipe.batch_size, seed):
            yield collate([rows[i] for i in group])

    def measure() -> float:
        with torch.no_grad():
            return model.eval()(**fresh).loss.item()

    outcome = pretrain(model, batches(), recipe, measure, NAME)
    tokenizer.save_pretrained(folder)
    save(model, folder, card(NAME, model, outcome, seed))
    return outcome
