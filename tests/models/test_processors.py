"""Tokenizers without a padding token get one, and the model and its saved files have its id."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

from goft_cli.config import ModelConfig
from goft_cli.models.backbone import Backbone, load_backbone
from goft_cli.system.errors import GoftError
from tests.support.small_runs import WORDS, Head

LLAMA2 = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
LLAMA3 = {"bos_token": "<s>", "eos_token": "</s>"}
GPT2 = {"eos_token": "<end>", "unk_token": "<end>"}
QWEN = {"eos_token": "<end>", "pad_token": "<pad>"}


class Writer(Head):
    """A task with generated answers."""

    auto_class: ClassVar[str] = "AutoModelForCausalLM"


def write_decoder(folder: Path, tokens: dict[str, Any]) -> Path:
    """Save a LLaMA of one block with random weights, whose tokenizer has these special tokens."""
    words = list(dict.fromkeys([*tokens.values(), *WORDS]))
    vocabulary = {word: index for index, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=words[0]))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    inputs = ["input_ids", "attention_mask"]
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, model_input_names=inputs, **tokens
    ).save_pretrained(folder)
    size: dict[str, Any] = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1}
    config = LlamaConfig(
        vocab_size=len(words), num_attention_heads=2, bos_token_id=0, eos_token_id=1, **size
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def load(folder: Path, head: type[Head] = Head) -> Backbone:
    cfg = ModelConfig("small", str(folder), target_modules=["q_proj"], head_modules=["score"])
    return load_backbone(cfg, head())


@pytest.mark.parametrize(
    ("tokens", "taken"),
    [(LLAMA2, "<unk>"), (LLAMA3, "</s>"), (GPT2, "<end>")],
    ids=["llama2", "llama3", "gpt2"],
)
def test_a_tokenizer_without_padding_takes_a_token_that_it_has(
    tokens: dict[str, str], taken: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = write_decoder(tmp_path, tokens)
    with caplog.at_level(logging.INFO):
        backbone = load(folder)
    (line,) = [record.message for record in caplog.records if "pad_token" in record.message]
    assert str(folder) in line
    assert taken in line
    padding = backbone.processor.convert_tokens_to_ids(taken)
    assert backbone.processor.pad_token_id == backbone.model.config.pad_token_id == padding


def test_a_tokenizer_with_padding_keeps_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        backbone = load(write_decoder(tmp_path, QWEN))
    assert backbone.processor.pad_token == "<pad>"
    assert "pad_token" not in caplog.text


def test_a_tokenizer_with_nothing_to_pad_with_is_refused(tmp_path: Path) -> None:
    with pytest.raises(GoftError, match=r"model.path=.*pad_token.*tokenizer_config.json"):
        load(write_decoder(tmp_path, {"bos_token": "<s>"}))


@torch.no_grad()
def test_padding_changes_no_answer_and_is_saved_with_the_model(tmp_path: Path) -> None:
    """Check a padded batch: without a padding id, transformers refuses several rows."""
    backbone = load(write_decoder(tmp_path / "base", LLAMA3))
    for part in (backbone.model, backbone.processor):
        part.save_pretrained(tmp_path / "saved")
    model: Any = AutoModelForSequenceClassification.from_pretrained(tmp_path / "saved").eval()
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "saved")
    sentences = ["the dog runs", "the cat sleeps not well ."]
    batch = model(**tokenizer(sentences, padding=True, return_tensors="pt")).logits
    alone = [model(**tokenizer([one], return_tensors="pt")).logits for one in sentences]
    assert torch.allclose(batch, torch.cat(alone), atol=100 * torch.finfo(batch.dtype).eps)


@torch.no_grad()
def test_a_language_model_writes_the_same_padded_or_alone(tmp_path: Path) -> None:
    backbone = load(write_decoder(tmp_path / "base", LLAMA2), Writer)
    model: Any = backbone.model.eval()
    tokenizer = backbone.processor
    model.save_pretrained(tmp_path / "saved")
    settings = json.loads((tmp_path / "saved" / "generation_config.json").read_text())
    assert settings["pad_token_id"] == tokenizer.pad_token_id == model.config.pad_token_id
    sentences = ["the dog", "the cat sleeps not well"]
    options: dict[str, Any] = {"max_new_tokens": 4, "do_sample": False, "eos_token_id": None}
    tokenizer.padding_side = "left"
    batch = tokenizer(sentences, padding=True, return_tensors="pt")
    together = model.generate(**batch, **options)[:, -4:]
    alone = [
        model.generate(**tokenizer([one], return_tensors="pt"), **options)[:, -4:]
        for one in sentences
    ]
    assert together.tolist() == torch.cat(alone).tolist()
