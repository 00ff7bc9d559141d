"""The scored tokens are those of TRL's `assistant_only_loss`, where TRL is installed."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import pytest
from datasets import Dataset
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from goft_cli.tasks.chat import Chat
from goft_cli.tasks.tokens import IGNORED
from tests.support.chats import SHAPES, Turns, bytes_tokenizer, template

trl: Any = pytest.importorskip("trl")
Maker = Callable[..., Chat]
TALKS: list[Turns] = [
    [
        {"role": "user", "content": "Hi there, and a question: what is the capital of Norway?"},
        {"role": "assistant", "content": "It is Oslo. 😀"},
    ],
    [
        {"role": "system", "content": "You are a poet."},
        {"role": "user", "content": "Write me a poem, please.\n\n"},
        {"role": "assistant", "content": "Roses are red,\n\nviolets are blue."},
        {"role": "user", "content": "Thank you! 日本"},
        {"role": "assistant", "content": "<|im_start|>\n"},
        {"role": "user", "content": "???"},
    ],
]


def trl_rows(tokenizer: PreTrainedTokenizerFast, folder: Path, talks: Sequence[Turns]) -> list[Any]:
    """Return the rows that TRL's SFTTrainer encodes for training; its model is never run."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        size: dict[str, Any] = {"hidden_size": 8, "intermediate_size": 8, "num_attention_heads": 1}
        config = LlamaConfig(vocab_size=len(tokenizer), num_hidden_layers=1, **size)
        options: dict[str, Any] = {"use_cpu": True, "bf16": False, "report_to": []}
        trainer = trl.SFTTrainer(
            model=LlamaForCausalLM(config),
            args=trl.SFTConfig(output_dir=str(folder), assistant_only_loss=True, **options),
            train_dataset=Dataset.from_dict({"messages": list(talks)}),
            processing_class=tokenizer,
        )
        return list(trainer.train_dataset)


@pytest.mark.parametrize("name", SHAPES)
def test_each_token_is_scored_as_trl_scores_it(name: str, make_chat: Maker, tmp_path: Path) -> None:
    rows = Dataset.from_dict({"messages": TALKS})
    tokenizer = bytes_tokenizer()
    tokenizer.chat_template = template(SHAPES[name].source, says=True)
    theirs = trl_rows(tokenizer, tmp_path, TALKS)
    for says in (True, False):
        tokenizer.chat_template = template(SHAPES[name].source, says=says)
        ours = make_chat().encode(rows, tokenizer).to_list()
        for own, their in zip(cast(list[Any], ours), theirs, strict=True):
            assert own["input_ids"] == their["input_ids"]
            assert own["labels"] == their["labels"]


@pytest.mark.parametrize("name", ["qwen2_5", "llama3", "gemma3"])
def test_of_trls_own_templates_the_spaces_around_a_turn_may_differ(
    name: str, make_chat: Maker, tmp_path: Path
) -> None:
    """Some of TRL's marks include the line break after a turn; without marks goft omits it."""
    folder = Path(trl.__file__).parent / "chat_templates"
    tokenizer, rows = bytes_tokenizer(), Dataset.from_dict({"messages": TALKS})
    tokenizer.chat_template = (folder / f"{name}_training.jinja").read_text()
    theirs = trl_rows(tokenizer, tmp_path, TALKS)
    assert [row["labels"] for row in make_chat().encode(rows, tokenizer).to_list()] == [
        row["labels"] for row in theirs
    ]
    tokenizer.chat_template = (folder / f"{name}.jinja").read_text()
    ours = make_chat().encode(rows, tokenizer).to_list()
    for own, their in zip(cast(list[Any], ours), theirs, strict=True):
        assert own["input_ids"] == their["input_ids"]
        pairs = list(zip(own["labels"], their["labels"], own["input_ids"], strict=True))
        assert all(label == other for label, other, _ in pairs if label != IGNORED)
        others = [token for label, other, token in pairs if label != other]
        assert not str(tokenizer.decode(others)).strip()
