"""From an instruction to the tokens that ask for its answer."""

from __future__ import annotations

from transformers import PreTrainedTokenizerBase

from goft_cli.config import ChatTemplate

PREAMBLE = (
    "Below is an instruction that describes a task. "
    "Write a response that appropriately completes the request."
)
QUESTION = "{question}"
TEMPLATES: dict[ChatTemplate, tuple[str, ...]] = {
    # LLaMA-Factory v0.4.0, llmtuner/data/template.py; it encodes the pieces one by one, which
    # counts with tokenizers that put a space before each text.
    ChatTemplate.alpaca: (PREAMBLE, "\n\n", f"### Instruction:\n{QUESTION}\n\n### Response:\n"),
    # FastChat, fastchat/conversation.py
    ChatTemplate.alpaca_fastchat: (f"{PREAMBLE}\n\n### Instruction: {QUESTION}\n\n### Response:",),
}


def encode(question: str, template: ChatTemplate, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Return token ids of the prompt, after the tokenizer's own start token if it puts one."""
    ids = tokenizer("").input_ids[:1]
    start = ids if ids == [tokenizer.bos_token_id] else []
    pieces = (piece.replace(QUESTION, question) for piece in TEMPLATES[template])
    return start + [
        token for piece in pieces for token in tokenizer(piece, add_special_tokens=False).input_ids
    ]
