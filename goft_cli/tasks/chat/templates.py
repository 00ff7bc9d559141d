"""A chat as the text that a tokenizer's template makes of it, and which part is the assistant's.

A template says so where it has `{% generation %}` around the assistant's words. Most have none.
Then the same roles are rendered with marks in place of their words: what stands between the marks
is the template's own. What the assistant writes begins where a generation prompt ends, and ends
with the special tokens that follow its words whatever comes next. Unlike a comparison of prefixes,
this holds for templates that drop or rewrite earlier turns, trim words, or treat the last turn in
another way.
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
"""What stands for the words of a turn: characters for private use, which no template trims."""
MARKED = re.compile("\ue000(\\d+)\ue001")
PROBE = (USER, ASSISTANT, USER, ASSISTANT)
OTHER_TEMPLATE = (
    "pass task.template=FILE, the template with {% generation %} and {% endgeneration %} around "
    "what the assistant writes"
)
# Of Tulu (arXiv:2306.04751): text alone, so that a model needs no new tokens.
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
    """What a template makes of a chat does not tell whose the words are."""


def give_template(tokenizer: Tokenizer, file: str | None) -> None:
    """Give a tokenizer the template of a file, or where it has none, Tulu's."""
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
    """What a template writes around the words of turns with certain roles.

    Attributes:
        pieces: the template's own texts, one more than there are turns between them.
        turns: the places of the turns that the template writes, in the order of its text.
        answers: by the place of an assistant's turn, how many characters before and behind its
            words are the assistant's too.
    """

    pieces: Sequence[str]
    turns: Sequence[int]
    answers: Mapping[int, tuple[int, int]]


class Template:
    """A tokenizer's template, asked for texts and for the assistant's part of them."""

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
        """Return a chat as text; with `asks`, up to where the assistant's next turn begins."""
        try:
            found = self.tokenizer.apply_chat_template(
                cast(Any, chat), tokenize=False, add_generation_prompt=asks
            )
        except (TemplateError, TypeError, ValueError, KeyError) as error:
            raise UnclearError(f"the model's chat template refuses it ({error})") from None
        return str(found)

    def answers(self, chat: Turns, *, last: bool) -> tuple[str, Spans]:
        """Return a chat as text, and the parts of it that are the assistant's, or its last turn's.

        To a turn belong its words and the token that ends them.
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
        """Return the parts that a template itself says are the assistant's."""
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
        """Yield the place and the part of each of the assistant's turns that are in the text."""
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
            raise UnclearError("the model's chat template writes more for it than for its roles")

    def scaffold(self, roles: Sequence[str]) -> Scaffold:
        """Find what the template writes around words, from marks in place of them."""
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
        """Return the texts around marks, and the places of the turns that are marked there."""
        pieces = MARKED.split(self.text(marks))
        return pieces[::2], [int(place) for place in pieces[1::2]]

    def _end(self, behind: str) -> int:
        """Return how much of the text behind an answer ends it.

        That are the tokens that follow the last answer and an earlier one alike; where these have
        none in common, as in gpt-oss, the first token.
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
        """Return what the template writes behind an answer and behind the last one."""
        texts, turns = self._around(marked(PROBE))
        behind = [text for text, place in zip(texts[1:], turns, strict=True) if place % 2]
        if not behind:
            raise UnclearError("the model's chat template leaves the assistant's words out")
        return behind[0], behind[-1]

    def end_ids(self) -> set[int]:
        """Return the tokens that end the assistant's turns; none if nothing tells them."""
        try:
            ends = [behind[: self._end(behind)] for behind in self._probed()]
        except UnclearError:
            return set()
        tokens = [self.token.findall(end)[-1] for end in ends]
        return {cast(int, self.tokenizer.convert_tokens_to_ids(token)) for token in tokens}


def marked(roles: Sequence[str]) -> Turns:
    """Return turns with marks in place of words."""
    return [{"role": role, "content": MARK.format(n)} for n, role in enumerate(roles)]


def in_spans(offsets: Sequence[tuple[int, int]], spans: Spans) -> np.ndarray:
    """Return (tokens,) bool: which tokens have a character of the spans.

    Characters that no token claims, as tokenizers leave out spaces, count for the token behind
    them. `offsets` are from a token's first character to the one after its last.
    """
    ends = np.array([end for _, end in offsets], dtype=np.int64)
    begins = np.array([begin for begin, _ in offsets], dtype=np.int64)
    reached = np.concatenate([[0], np.maximum.accumulate(ends)[:-1]]) if len(ends) else ends
    begins = np.minimum(begins, reached)
    found = np.zeros(len(ends), dtype=bool)
    for start, end in spans:
        found |= (begins < end) & (ends > start)
    return found
