"""From an instruction to the tokens that ask for its answer."""

from __future__ import annotations

from transformers import PreTrainedTokenizerBase

from goft_cli.config import ChatTemplate
from goft_cli.tasks.instruction.template import PREAMBLE, SEPARATOR, encode_prompts
from goft_cli.tasks.tokens import text_start


def encode(question: str, template: ChatTemplate, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Return token ids of the prompt: `alpaca` exactly as in training, or FastChat's text."""
    if template is ChatTemplate.alpaca:
        return encode_prompts([question], tokenizer)[0]
    # fastchat/conversation.py, one text
    prompt = f"{PREAMBLE}{SEPARATOR}### Instruction: {question}{SEPARATOR}### Response:"
    return [*text_start(tokenizer), *tokenizer(prompt, add_special_tokens=False).input_ids]
