"""Chat templates that follow published formats, a tokenizer for them, and generated chats."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

Turns = list[dict[str, str]]
Piece = tuple[str, bool]
"""A text, and whether the assistant writes it."""

SPECIAL = [
    *("<pad>", "<s>", "</s>", "<|im_start|>", "<|im_end|>", "<|start_header_id|>"),
    *("<|end_header_id|>", "<|eot_id|>", "<start_of_turn>", "<end_of_turn>"),
]
CORPUS = [
    "You are a helpful assistant. What is the capital of Norway? It is Oslo.\n\n",
    "system user assistant model <|user|> <|assistant|> <<SYS>> [INST] [/INST] <think>\n\n</think>",
    "Thank you! Write me a poem, please.\n\nRoses are red,\nviolets are blue.\n",
]


def bytes_tokenizer(eos: str = "</s>") -> PreTrainedTokenizerFast:
    """Return a byte-level BPE tokenizer with few merges; it encodes and decodes any text."""
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=[AddedToken(token, special=True) for token in SPECIAL],
    )
    core.train_from_iterator(CORPUS * 3, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=core, bos_token="<s>", eos_token=eos, pad_token="<pad>"
    )


# `template` replaces G and E by `{% generation %}` and `{% endgeneration %}`, or removes them.
CHATML = (
    "{% for message in messages %}"
    "{% if loop.first and message.role != 'system' %}"
    "{{ '<|im_start|>system\nDEFAULT<|im_end|>\n' }}{% endif %}"
    "{{ '<|im_start|>' + message.role + '\n' }}"
    "{% if message.role == 'assistant' %}G{{ message.content + '<|im_end|>' }}E"
    "{% else %}{{ message.content + '<|im_end|>' }}{% endif %}{{ '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
LLAMA3 = (
    "{{ bos_token }}{% for message in messages %}"
    "{{ '<|start_header_id|>' + message.role + '<|end_header_id|>\n\n' }}"
    "{% if message.role == 'assistant' %}G{{ message.content | trim + '<|eot_id|>' }}E"
    "{% else %}{{ message.content | trim + '<|eot_id|>' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}"
    "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)
GEMMA = (
    "{{ bos_token }}{% if messages[0].role == 'system' %}"
    "{% set first = messages[0].content + '\n\n' %}{% set loop_messages = messages[1:] %}"
    "{% else %}{% set first = '' %}{% set loop_messages = messages %}{% endif %}"
    "{% for message in loop_messages %}"
    "{% if (message.role == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('roles must alternate') }}{% endif %}"
    "{% if message.role == 'assistant' %}{{ '<start_of_turn>model\n' }}"
    "G{{ message.content | trim + '<end_of_turn>' }}E{{ '\n' }}"
    "{% else %}{{ '<start_of_turn>user\n' + (first if loop.first else '') }}"
    "{{ message.content | trim + '<end_of_turn>\n' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
)
# The system message is in the first user turn; an answer begins with a space and has no header.
LLAMA2 = (
    "{% if messages[0].role == 'system' %}{% set rest = messages[1:] %}"
    "{% set system = '<<SYS>>\n' + messages[0].content + '\n<</SYS>>\n\n' %}"
    "{% else %}{% set rest = messages %}{% set system = '' %}{% endif %}"
    "{% for message in rest %}{% if message.role == 'user' %}"
    "{{ bos_token + '[INST] ' + (system if loop.first else '') + message.content + ' [/INST]' }}"
    "{% else %}G{{ ' ' + message.content + ' ' + eos_token }}E{% endif %}{% endfor %}"
)
# The system message is in the last user turn: the text of the first turns alone is no prefix.
MISTRAL = (
    "{% if messages[0].role == 'system' %}{% set rest = messages[1:] %}"
    "{% set system = messages[0].content + '\n\n' %}"
    "{% else %}{% set rest = messages %}{% set system = '' %}{% endif %}"
    "{{ bos_token }}"
    "{% for message in rest %}{% if message.role == 'user' %}"
    "{{ '[INST]' + (system if loop.revindex <= 2 else '') + message.content + '[/INST]' }}"
    "{% else %}G{{ message.content + eos_token }}E{% endif %}{% endfor %}"
)
# Only the last turn, if it is an answer, has an empty thinking block before its content.
QWEN3 = (
    "{% for message in messages %}{{ '<|im_start|>' + message.role + '\n' }}"
    "{% if message.role == 'assistant' %}"
    "G{{ '<think>\n\n</think>\n\n' if loop.last else '' }}{{ message.content + '<|im_end|>' }}E"
    "{% else %}{{ message.content + '<|im_end|>' }}{% endif %}{{ '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def template(source: str, *, says: bool) -> str:
    """Return a template with the tags around the assistant's text, or without them."""
    start, end = ("{% generation %}", "{% endgeneration %}") if says else ("", "")
    return source.replace("G{{", start + "{{").replace("}}E", "}}" + end)


def chatml(turns: Turns) -> list[Piece]:
    """Write ChatML by hand."""
    said = [] if turns[0]["role"] == "system" else [{"role": "system", "content": "DEFAULT"}]
    pieces: list[Piece] = []
    for turn in [*said, *turns]:
        pieces += [(f"<|im_start|>{turn['role']}\n", False)]
        pieces += [(turn["content"] + "<|im_end|>", turn["role"] == "assistant"), ("\n", False)]
    return pieces


def llama3(turns: Turns) -> list[Piece]:
    """Write Llama 3's format by hand."""
    pieces: list[Piece] = [("<s>", False)]
    for turn in turns:
        pieces += [(f"<|start_header_id|>{turn['role']}<|end_header_id|>\n\n", False)]
        pieces += [(turn["content"].strip() + "<|eot_id|>", turn["role"] == "assistant")]
    return pieces


def gemma(turns: Turns) -> list[Piece]:
    """Write Gemma's format by hand."""
    system = [turn["content"] + "\n\n" for turn in turns if turn["role"] == "system"]
    pieces: list[Piece] = [("<s>", False)]
    for turn in turns[len(system) :]:
        mine = turn["role"] == "assistant"
        pieces += [(f"<start_of_turn>{'model' if mine else 'user'}\n", False)]
        pieces += [(system.pop(), False)] if system else []
        pieces += [(turn["content"].strip() + "<end_of_turn>", mine), ("\n", False)]
    return pieces


def llama2(turns: Turns) -> list[Piece]:
    """Write Llama 2's format by hand."""
    pieces: list[Piece] = []
    system = ""
    for turn in turns:
        if turn["role"] == "system":
            system = f"<<SYS>>\n{turn['content']}\n<</SYS>>\n\n"
        elif turn["role"] == "user":
            pieces += [(f"<s>[INST] {system}{turn['content']} [/INST]", False)]
            system = ""
        else:
            pieces += [(f" {turn['content']} </s>", True)]
    return pieces


def mistral(turns: Turns) -> list[Piece]:
    """Write by hand a format with the system message in the last user turn."""
    system = next((t["content"] + "\n\n" for t in turns if t["role"] == "system"), "")
    last = [turn for turn in turns if turn["role"] == "user"][-1]
    pieces: list[Piece] = [("<s>", False)]
    for turn in turns:
        if turn["role"] == "user":
            begin = system if turn is last else ""
            pieces += [(f"[INST]{begin}{turn['content']}[/INST]", False)]
        elif turn["role"] == "assistant":
            pieces += [(turn["content"] + "</s>", True)]
    return pieces


def qwen3(turns: Turns) -> list[Piece]:
    """Write by hand a format with an empty thinking block in the last turn."""
    pieces: list[Piece] = []
    for number, turn in enumerate(turns, start=1):
        mine = turn["role"] == "assistant"
        thought = "<think>\n\n</think>\n\n" if mine and number == len(turns) else ""
        pieces += [(f"<|im_start|>{turn['role']}\n", False)]
        pieces += [(f"{thought}{turn['content']}<|im_end|>", mine), ("\n", False)]
    return pieces


@dataclass(frozen=True)
class Shape:
    """A template, and a function that writes the same text by hand."""

    source: str
    pieces: Callable[[Turns], list[Piece]]


SHAPES = {
    "SmolLM2 and Qwen2.5": Shape(CHATML, chatml),
    "Llama 3": Shape(LLAMA3, llama3),
    "Gemma": Shape(GEMMA, gemma),
    "Llama 2": Shape(LLAMA2, llama2),
    "Mistral": Shape(MISTRAL, mistral),
    "Qwen3": Shape(QWEN3, qwen3),
}

parts = st.sampled_from([*"aé日😀 \n.<|>[]", "You", "\n\n", "<|im_end|>", "</s>", "  "])
contents = st.lists(parts, max_size=12).map("".join).filter(str.strip)


@st.composite
def chats(draw: st.DrawFn) -> Turns:
    """Draw a chat, perhaps with a system turn, perhaps without a last answer."""
    texts: Sequence[str] = draw(st.lists(contents, min_size=2, max_size=7))
    roles = ["user", "assistant"] * 4
    turns = [{"role": r, "content": t} for r, t in zip(roles, texts, strict=False)]
    system = draw(st.none() | contents)
    return [{"role": "system", "content": system}, *turns] if system else turns
