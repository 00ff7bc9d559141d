"""The text that a chat template makes of a chat, and the assistant's parts of it.

A template marks these parts if it has `{% generation %}` around the assistant's content. Most do
not. Then the same roles are rendered with marks in place of their content: the text between the
marks is the template's own. The assistant's part begins where a generation prompt ends, and ends
with the special tokens that always follow its content. Unlike a comparison of prefixes, this works
for templates that drop or rewrite earlier turns, strip content, or treat the last turn differently.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any, cast

import numpy as np
from jinja2 import TemplateError
from transformers.utils.chat_template_utils import render_jinja_template

from goft_cli.system.errors import GoftError
from goft_cli.system.files import refuse_no_file
from goft_cli.tasks.chat.rows import ASSISTANT, USER, Turns
from goft_cli.tasks.tokens import Tokenizer, text_start

GENERATION = re.compile(r"\{%-?\s*generation\s*-?%\}")
MARK = "\ue000{}\ue001"
"""Replaces the content of a turn: private-use characters, which no template strips."""
MARKED = re.compile("\ue000(\\d+)\ue001")
PROBE = (USER, ASSISTANT, USER, ASSISTANT)
OTHER_TEMPLATE = (
    "pass task.template=FILE, the template with {% generation %} and {% endgeneration %} around "
    "what the assistant writes"
)
# Tulu's template (arXiv:2306.04751): it is plain text, so that a model needs no new tokens.
TULU = (
    "{% for message in messages %}"
    "{{ '<|' + message['role'] + '|>\n' + message['content'] }}"
    "{{ eos_token + '\n' if message['role'] == 'assistant' else '\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
)

Spans = list[tuple[int, int]]
"""Parts of a text, each from its first character to the one after its last."""

logger = logging.getLogger(__name__)


class UnclearError(ValueError):
    """The assistant's parts cannot be found in the text that a template makes."""


def give_template(tokenizer: Tokenizer, file: str | None) -> None:
    """Set a tokenizer's template to that of a file, or to Tulu's if it has none."""
    if file is not None:
        tokenizer.chat_template = read_template(Path(file).expanduser())
    elif tokenizer.chat_template is None:
        start = "{{ bos_token }}" if text_start(tokenizer) else ""
        tokenizer.chat_template = start + TULU
        logger.info(
            "%s: the tokenizer has no chat template; chats are written in Tulu's, with %s behind "
            "each answer",
            *(tokenizer.name_or_path, tokenizer.eos_token),
        )


def read_template(path: Path) -> str:
    """Return the text of a file with a template."""
    refuse_no_file(path)
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise GoftError(f"task.template={path}: not readable ({error})", "check the path") from None


@dataclass(frozen=True)
class Scaffold:
    """The text that a template writes around the content of turns with certain roles.

    Attributes:
        pieces: the template's own texts, before, between and after the turns.
        turns: indices of the turns that the template writes, in the order of its text.
        answers: by the index of an assistant's turn, how many characters before and after its
            content are the assistant's too.
    """

    pieces: Sequence[str]
    turns: Sequence[int]
    answers: Mapping[int, tuple[int, int]]


class Template:
    """A tokenizer's chat template; it returns texts and the assistant's parts of them."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self.source = tokenizer.get_chat_template()
        self.says = bool(GENERATION.search(self.source))
        added = {str(token) for token in tokenizer.added_tokens_decoder.values()}
        tokens = sorted(added | {*tokenizer.all_special_tokens}, key=len, reverse=True)
        self.token = re.compile("|".join(map(re.escape, tokens)) or r"(?!)")
        self.scaffolds: dict[tuple[str, ...], Scaffold] = {}
        self.shared: str | None = None
        self.warned = False

    def text(self, chat: Sequence[Mapping[str, str]], *, asks: bool = False) -> str:
        """Return a chat as text; with `asks`, with the prompt for the assistant's next turn."""
        try:
            found = self.tokenizer.apply_chat_template(
                cast(Any, chat), tokenize=False, add_generation_prompt=asks
            )
        except (TemplateError, TypeError, ValueError, KeyError) as error:
            raise UnclearError(f"the model's chat template refuses it ({error})") from None
        return str(found)

    def answers(self, chat: Turns, *, last: bool) -> tuple[str, Spans]:
        """Return a chat as text, and the parts of it that are the assistant's, or its last turn's.

        A part has the turn's content and the token that ends it.
        """
        text = self.text(chat)
        if self.says:
            return text, self._said(chat, text, last=last)
        parts = dict(self._found(chat, text))
        places = [place for place, turn in enumerate(chat) if turn["role"] == ASSISTANT]
        wanted = places[-1:] if last else places
        if not any(place in parts for place in wanted):
            raise UnclearError("the model's chat template leaves the assistant's words out")
        return text, [parts[place] for place in wanted if place in parts]

    def _said(self, chat: Turns, text: str, *, last: bool) -> Spans:
        """Return the assistant's parts by the template's `{% generation %}` marks."""
        special: dict[str, Any] = self.tokenizer.special_tokens_map
        _, found = render_jinja_template(
            [cast(Any, chat)],
            chat_template=self.source,
            return_assistant_tokens_mask=True,
            **special,
        )
        parts: Spans = [(start, end) for start, end in cast(Any, found)[0] if end > start]
        turns = sum(turn["role"] == ASSISTANT for turn in chat)
        if not parts or (last and len(parts) != turns):
            raise UnclearError(
                f"the model's chat template marks {len(parts)} parts as the assistant's, which has "
                f"{turns} turns"
            )
        if not self.warned and not any(self.token.search(text[slice(*part)]) for part in parts):
            self.warned = True
            logger.warning(
                "the model's chat template marks no token that ends the assistant's words, so no "
                "answer would ever end; put it before {% endgeneration %}"
            )
        return parts[-1:] if last else parts

    def _found(self, chat: Turns, text: str) -> Iterator[tuple[int, tuple[int, int]]]:
        """Yield index and part of each assistant turn that is in the text."""
        roles = tuple(turn["role"] for turn in chat)
        if roles not in self.scaffolds:
            self.scaffolds[roles] = self.scaffold(roles)
        scaffold = self.scaffolds[roles]
        at = len(scaffold.pieces[0])
        fits = text.startswith(scaffold.pieces[0])
        for place, behind in zip(scaffold.turns, scaffold.pieces[1:], strict=True):
            words = chat[place]["content"]
            forms = (words, words.strip(), words.lstrip(), words.rstrip())
            lengths = [len(form) for form in forms if text.startswith(form + behind, at)]
            if not fits or not lengths:
                raise UnclearError(
                    f"the model's chat template rewrites turn {place + 1}, so that its words "
                    "cannot be found"
                )
            if place in scaffold.answers:
                before, after = scaffold.answers[place]
                yield place, (at - before, at + lengths[0] + after)
            at += lengths[0] + len(behind)
        if at != len(text):
            raise UnclearError("the model's chat template writes text that depends on its content")

    def scaffold(self, roles: Sequence[str]) -> Scaffold:
        """Find the text that the template writes around content, by marks in its place."""
        marks = marked(roles)
        texts, turns = self._around(marks)
        answers = {}
        for index, place in enumerate(turns):
            if roles[place] != ASSISTANT:
                continue
            before, behind = texts[index], texts[index + 1]
            asked = MARKED.split(self.text(marks[:place], asks=True))[-1]
            if not before.startswith(asked):
                raise UnclearError(
                    f"the model's chat template asks for an answer with {asked!r}, but writes "
                    f"{before!r} before one"
                )
            answers[place] = (len(before) - len(asked), self._end(behind))
        return Scaffold(texts, turns, answers)

    def _around(self, marks: Turns) -> tuple[list[str], list[int]]:
        """Return the texts around marks, and the indices of the marked turns."""
        pieces = MARKED.split(self.text(marks))
        return pieces[::2], [int(place) for place in pieces[1::2]]

    def _end(self, behind: str) -> int:
        """Return the length of the text after an answer that ends it.

        These are the tokens that follow both the last answer and an earlier one; if they have none
        in common, as in gpt-oss, it is the first token.
        """
        if self.shared is None:
            first, last = self._probed()
            alike = takewhile(lambda pair: pair[0] == pair[1], zip(first, last, strict=False))
            shared = "".join(character for character, _ in alike)
            ends = [found.end() for found in self.token.finditer(shared)]
            self.shared = shared[: ends[-1]] if ends else ""
        if self.shared and behind.startswith(self.shared):
            return len(self.shared)
        end = self.token.search(behind)
        if end is None:
            raise UnclearError(
                "the model's chat template writes no token behind the assistant's words, so that "
                "no answer could ever end"
            )
        return end.end()

    def _probed(self) -> tuple[str, str]:
        """Return the texts that the template writes after an answer and after the last one."""
        texts, turns = self._around(marked(PROBE))
        behind = [text for text, place in zip(texts[1:], turns, strict=True) if place % 2]
        if not behind:
            raise UnclearError("the model's chat template leaves the assistant's words out")
        return behind[0], behind[-1]

    def end_ids(self) -> set[int]:
        """Return the tokens that end the assistant's turns; none if they cannot be found."""
        try:
            ends = [behind[: self._end(behind)] for behind in self._probed()]
        except UnclearError:
            return set()
        tokens = [self.token.findall(end)[-1] for end in ends]
        return {cast(int, self.tokenizer.convert_tokens_to_ids(token)) for token in tokens}


def marked(roles: Sequence[str]) -> Turns:
    """Return turns with marks in place of content."""
    return [{"role": role, "content": MARK.format(n)} for n, role in enumerate(roles)]


def in_spans(offsets: Sequence[tuple[int, int]], spans: Spans) -> np.ndarray:
    """Return (tokens,) bool: whether a token has a character of the spans.

    Characters without a token, such as spaces that tokenizers skip, belong to the next token.
    `offsets` are from a token's first character to the one after its last.
    """
    ends = np.array([end for _, end in offsets], dtype=np.int64)
    begins = np.array([begin for begin, _ in offsets], dtype=np.int64)
    reached = np.concatenate([[0], np.maximum.accumulate(ends)[:-1]]) if len(ends) else ends
    begins = np.minimum(begins, reached)
    found = np.zeros(len(ends), dtype=bool)
    for start, end in spans:
        found |= (begins < end) & (ends > start)
    return found
