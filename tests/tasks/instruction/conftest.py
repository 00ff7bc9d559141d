"""Fixtures: an instruction task that reads a folder, and two tokenizers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from goft_cli.config import DatasetConfig, InstructionConfig
from goft_cli.tasks.instruction import Instruction
from tests.support.decoders import shipped_llama


@pytest.fixture
def make_instruction(tmp_path: Path) -> Callable[..., Instruction]:
    """Build a task that reads `tmp_path`; keywords replace its fields."""

    def make(**changes: object) -> Instruction:
        fields: dict[str, Any] = {
            "name": "made-up",
            "dataset": DatasetConfig(id="nobody/nothing"),
            "data_dir": str(tmp_path),
            "eval_splits": [],
            "headline_split": "train_sample",
            "max_length": 256,
            **changes,
        }
        return Instruction(InstructionConfig(**fields))

    return make


@pytest.fixture(scope="session")
def bytes_tokenizer() -> PreTrainedTokenizerBase:
    """Return the tokenizer of tiny-llama, which encodes and decodes any text."""
    return shipped_llama()[1]


@pytest.fixture(scope="session")
def words_tokenizer() -> PreTrainedTokenizerBase:
    """Return a tokenizer of one token per letter, with LLaMA 2's word marks and no padding."""
    special = ["<unk>", "<s>", "</s>"]
    letters = ["▁", "\n", *map(chr, range(33, 127))]
    vocabulary = {token: index for index, token in enumerate([*special, *letters])}
    core = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Metaspace(prepend_scheme="always"), pre_tokenizers.Split("", "isolated")]
    )
    core.decoder = decoders.Metaspace()
    core.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", vocabulary["<s>"])]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=core, unk_token="<unk>", bos_token="<s>", eos_token="</s>"
    )
