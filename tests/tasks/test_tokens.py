"""Every family's prompts start with the special tokens that the tokenizer itself adds."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from goft_cli.config import ChatTemplate
from goft_cli.system.locations import asset_dir
from goft_cli.tasks.instruction.rows import encode_prompts
from goft_cli.tasks.mmlu.questions import Prompter, Question
from goft_cli.tasks.tokens import text_start
from goft_cli.tasks.vicuna.answers import encode
from tests.support.multiple_choice import config

ADDS_BOS, ADDS_BOTH, ADDS_EOS, ADDS_NONE = "<s> $A", "<s> $A </s>", "$A </s>", None


def write_tokenizer(folder: Path, adds: str | None, **changes: Any) -> PreTrainedTokenizerBase:  # noqa: ANN401
    """Return tiny-llama's tokenizer with another post-processor and configuration."""
    shutil.copytree(asset_dir("tiny-llama"), folder)
    settings = json.loads((folder / "tokenizer_config.json").read_text()) | changes
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    core = json.loads((folder / "tokenizer.json").read_text())
    specials = {
        name: {"id": name, "ids": [at], "tokens": [name]} for at, name in ((1, "<s>"), (2, "</s>"))
    }
    places: dict[str, dict[str, Any]] = {"$A": {"Sequence": {"id": "A", "type_id": 0}}}
    places |= {name: {"SpecialToken": {"id": name, "type_id": 0}} for name in specials}
    single = [places[word] for word in (adds or "").split()]
    template = {
        "type": "TemplateProcessing",
        "single": single,
        "pair": single,
        "special_tokens": specials,
    }
    core["post_processor"] = template if adds else None
    (folder / "tokenizer.json").write_text(json.dumps(core))
    return AutoTokenizer.from_pretrained(folder)


@pytest.mark.parametrize(
    ("adds", "changes", "start"),
    [
        (ADDS_BOS, {}, ["<s>"]),
        (ADDS_BOTH, {}, ["<s>"]),
        (ADDS_EOS, {}, []),
        # as SmolLM2 has it: a bos in the vocabulary that its tokenizer never adds
        (ADDS_NONE, {"add_bos_token": False, "tokenizer_class": "GPT2Tokenizer"}, []),
        # as Qwen2.5 has it: no bos at all
        (ADDS_NONE, {"add_bos_token": False, "bos_token": None}, []),
        # one token is both eos and bos, and is added only at the end
        (ADDS_EOS, {"bos_token": "</s>"}, []),
    ],
)
def test_every_prompt_begins_as_the_tokenizer_begins_a_text(
    adds: str | None, changes: dict[str, Any], start: list[str], tmp_path: Path
) -> None:
    tokenizer = write_tokenizer(tmp_path / "tokenizer", adds, **changes)
    assert tokenizer.convert_ids_to_tokens(text_start(tokenizer)) == start
    question = Question("x", "Is it?", ["a", "b", "c", "d"], 0)
    full = config("mmlu/full")
    (asked,) = Prompter(full.header, [], tokenizer, 256, full.overflow).encode([question], [()])
    prompts = {
        "training and predict": encode_prompts(["Hi"], tokenizer)[0],
        **{template.value: encode("Hi", template, tokenizer) for template in ChatTemplate},
        "mmlu": asked.ids.tolist(),
    }
    texts = {name: tokenizer.convert_ids_to_tokens(ids) for name, ids in prompts.items()}
    for name, tokens in texts.items():
        assert tokens[: len(start)] == start, name
        assert "<s>" not in tokens[len(start) :], name
