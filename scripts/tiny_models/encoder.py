"""Pretrain tiny-deberta-v3, a DebertaV2 encoder set up like DeBERTaV3, on masked tokens."""

from __future__ import annotations

import string
from collections.abc import Iterator
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from torch import Tensor
from transformers import DebertaV2Config, DebertaV2ForMaskedLM, PreTrainedTokenizerFast

from scripts.demo_rows import lexicon
from scripts.demo_rows.acceptability import corpus
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

NAME = "tiny-deberta-v3"
SPECIAL = ("[PAD]", "[CLS]", "[SEP]", "[UNK]", "[MASK]")
RECIPE = Recipe(steps=4000, learning_rate=3e-3, batch_size=64)
TEXTS = 60_000
SELECTED = 0.2  # share of tokens to predict; of these 60% are masked, 30% random, 10% unchanged
IGNORED = -100


def vocabulary() -> list[str]:
    """Return special tokens, pieces that spell any word, and the grammar's words."""
    words: set[str] = {*lexicon.FUNCTION_WORDS, *map(str.lower, lexicon.NAMES)}
    for noun in (*lexicon.ANIMATE, *lexicon.THINGS, *lexicon.PLACES):
        words.update((noun.singular, noun.plural))
    for name, value in vars(lexicon).items():
        if name.endswith("_VERBS"):
            words.update(form for verb in value for form in verb)
        elif name.isupper() and isinstance(value, tuple) and isinstance(value[0], str):
            words.update(value)
    signs = (*string.ascii_lowercase, *string.digits, *string.punctuation)
    endings = lexicon.words("ing ed er ly es ion al able ness ment")
    pieces = [f"##{piece}" for piece in (*string.ascii_lowercase, *string.digits, *endings)]
    return list(dict.fromkeys((*SPECIAL, *signs, *pieces, *sorted(words))))


def build_tokenizer() -> PreTrainedTokenizerFast:
    """Build a lower-casing WordPiece tokenizer that spells unknown words by letters."""
    ids = {token: index for index, token in enumerate(vocabulary())}
    core = Tokenizer(models.WordPiece(ids, unk_token="[UNK]", max_input_chars_per_word=64))
    core.normalizer = normalizers.BertNormalizer(lowercase=True, strip_accents=True)
    core.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    core.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B [SEP]",
        special_tokens=[("[CLS]", ids["[CLS]"]), ("[SEP]", ids["[SEP]"])],
    )
    core.decoder = decoders.WordPiece()
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        model_max_length=128,
        model_input_names=["input_ids", "attention_mask"],
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        unk_token="[UNK]",
        mask_token="[MASK]",
    )


def build_config(vocab_size: int) -> DebertaV2Config:
    """Return DeBERTaV3's settings at an eighth of the base width and a quarter of the depth."""
    # The model reads these settings, but they are no fields of the configuration class.
    disentangled = {
        "position_buckets": 32,
        "norm_rel_ebd": "layer_norm",
        "share_att_key": True,
        "pooler_hidden_size": 96,
    }
    return DebertaV2Config(
        vocab_size=vocab_size,
        hidden_size=96,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=192,
        max_position_embeddings=128,
        relative_attention=True,
        max_relative_positions=-1,
        pos_att_type=["p2c", "c2p"],
        position_biased_input=False,
        type_vocab_size=0,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        pooler_hidden_act="gelu",
        pooler_dropout=0.0,
        pad_token_id=0,
        **disentangled,
    )


def masked(ids: Tensor, vocab_size: int, generator: torch.Generator) -> Batch:
    """Turn (rows, length) token ids into inputs with masks, and labels at the chosen positions."""
    chosen = (torch.rand(ids.shape, generator=generator) < SELECTED) & (ids >= len(SPECIAL))
    fate = torch.rand(ids.shape, generator=generator)
    random_ids = torch.randint(len(SPECIAL), vocab_size, ids.shape, generator=generator)
    shown = torch.where(chosen & (fate < 0.6), SPECIAL.index("[MASK]"), ids)
    shown = torch.where(chosen & (fate >= 0.6) & (fate < 0.9), random_ids, shown)
    labels = torch.where(chosen, ids, IGNORED)
    return {"input_ids": shown, "attention_mask": (ids != 0).long(), "labels": labels}


def make(folder: Path, seed: int, steps: int | None = None) -> Outcome:
    """Pretrain the encoder and write model, tokenizer and card into `folder`."""
    make_deterministic(seed)
    recipe = RECIPE if steps is None else Recipe(steps, RECIPE.learning_rate, RECIPE.batch_size)
    tokenizer = build_tokenizer()
    vocab_size = len(tokenizer)
    model = DebertaV2ForMaskedLM(build_config(vocab_size))
    rows = tokenizer(list(corpus(min(TEXTS, recipe.steps * recipe.batch_size), seed)))["input_ids"]
    fresh = tokenizer(list(corpus(1000, seed + 1)))["input_ids"]

    def batches() -> Iterator[Batch]:
        generator = torch.Generator().manual_seed(seed)
        for group in shuffled_batches(list(map(len, rows)), recipe.batch_size, seed):
            yield masked(padded([rows[i] for i in group], 0), vocab_size, generator)

    def measure() -> float:
        batch = masked(padded(fresh, 0), vocab_size, torch.Generator().manual_seed(seed))
        with torch.no_grad():
            return model.eval()(**batch).loss.item()

    outcome = pretrain(model, batches(), recipe, measure, NAME)
    tokenizer.save_pretrained(folder)
    save(model, folder, card(NAME, model, outcome, seed))
    return outcome
