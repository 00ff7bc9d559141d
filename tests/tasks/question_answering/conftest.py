"""Fixtures: a question-answering task, a SQuAD document, and tokenizers of single letters."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from goft_cli.config import DatasetConfig, QuestionAnsweringConfig
from goft_cli.tasks.question_answering import QuestionAnswering

QaMaker = Callable[..., QuestionAnswering]
Document = dict[str, Any]
TokenizerMaker = Callable[..., PreTrainedTokenizerFast]

ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789⁄ ▁"  # noqa: RUF001 - what NFKC makes of a half has a fraction slash


@pytest.fixture
def make_task(tmp_path: Path) -> QaMaker:
    """Build a task that reads `tmp_path`; keywords replace its fields."""

    def make(**changes: object) -> QuestionAnswering:
        fields: dict[str, Any] = {
            "name": "made-up",
            "dataset": DatasetConfig(id="nobody/nothing"),
            "data_dir": str(tmp_path),
            "headline_split": "validation",
            "max_length": 24,
            "doc_stride": 4,
        }
        fields.update(changes)
        return QuestionAnswering(QuestionAnsweringConfig(**fields))

    return make


@pytest.fixture
def document() -> Document:
    """Return two articles, three paragraphs, four questions; the first has two right answers."""
    lake = "The lake is 12 km long. It was dammed in 1911, 40 years after the town."
    return {
        "version": "1.1",
        "data": [
            {
                "title": "Lake",
                "paragraphs": [
                    {
                        "context": lake,
                        "qas": [
                            question("q1", "How long is it?", lake, "12 km", "12 km long"),
                            question("q2", "  When was it dammed?", lake, "1911"),
                        ],
                    },
                    {
                        "context": " Zürich, so naïve.",  # SQuAD has contexts with leading blanks
                        "qas": [question("q3", "Where?", " Zürich, so naïve.", "Zürich")],
                    },
                ],
            },
            {
                "title": "Town",
                "paragraphs": [
                    {"context": "A town.", "qas": [question("q4", "What?", "A town.", "A town")]}
                ],
            },
        ],
    }


def question(name: str, text: str, context: str, *answers: str) -> dict[str, Any]:
    """Return a question in SQuAD's format, its answers where they first occur."""
    places = [{"text": answer, "answer_start": context.index(answer)} for answer in answers]
    return {"id": name, "question": text, "answers": places}


@pytest.fixture
def make_tokenizer() -> TokenizerMaker:
    """Build a tokenizer with one token per character between special tokens."""

    def make(
        splitter: pre_tokenizers.PreTokenizer | None = None,
        normalizer: normalizers.Normalizer | None = None,
    ) -> PreTrainedTokenizerFast:
        special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
        vocabulary = {word: index for index, word in enumerate([*special, *ALPHABET])}
        core = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
        core.pre_tokenizer = splitter or pre_tokenizers.Split("", "isolated")
        if normalizer is not None:
            core.normalizer = normalizer
        core.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]",
            pair="[CLS] $A [SEP] $B:1 [SEP]:1",
            special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
        )
        return PreTrainedTokenizerFast(
            tokenizer_object=core,
            model_max_length=64,
            model_input_names=["input_ids", "token_type_ids", "attention_mask"],
            pad_token="[PAD]",
        )

    return make
