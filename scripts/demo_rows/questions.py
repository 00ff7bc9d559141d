"""Generate the data of `demo/qa`: short stories with a question each, in SQuAD v1.1's format.

Each sentence of a story says that somebody is doing something to somebody or something. The
question repeats half of one sentence and asks who the other half is about. All words are among
those that the tiny encoder was pretrained on, and no story occurs in two splits.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from scripts.demo_rows import lexicon as lex
from scripts.demo_rows.acceptability import Split, share_of
from scripts.demo_rows.facts import sample
from scripts.demo_rows.grammar import Chance, spell
from scripts.demo_rows.splits import check_split

SIZES: dict[Split, int] = {"train": 2000, "validation": 400, "test": 400}
SENTENCES = range(5, 9)
VERBS = (*lex.PERSON_VERBS, *lex.THING_VERBS)
PEOPLE = (*lex.NAMES, *(noun.singular for noun in lex.ANIMATE))
THINGS = tuple(noun.singular for noun in lex.THINGS)

Words = tuple[str, ...]


@dataclass(frozen=True)
class Deed:
    """One sentence: `doer` is doing `verb` to `other`, at `place` if that is not empty."""

    doer: Words
    verb: str
    other: Words
    place: Words

    @property
    def sentence(self) -> str:
        """The sentence as it is written."""
        return spell([*self.doer, "is", self.verb, *self.other, *self.place, "."])

    def ask(self, for_doer: bool) -> tuple[str, str, int]:
        """Return a question, its answer, and where in the sentence the answer starts."""
        if for_doer:
            words, answer, start = ["who", "is", self.verb, *self.other, "?"], self.doer, 0
        else:
            words, answer = ["who", "is", *self.doer, self.verb, "?"], self.other
            start = len(" ".join([*self.doer, "is", self.verb, ""]))
        stop = start + len(" ".join(answer))
        return spell(words), self.sentence[start:stop], start


def generate(split: Split, size: int | None = None, seed: int = 0) -> list[dict[str, Any]]:
    """Draw the rows of a split: `id`, `context`, `question`, `answers` with one answer each.

    Args:
        split: which share of all stories to draw from.
        size: number of rows; `SIZES[split]` by default.
        seed: another seed draws another sample from the same share.

    Raises:
        GoftError: the split is unknown.
    """
    check_split("demo/qa", split, SIZES)
    chance = Chance(zlib.crc32(f"qa/{split}/{seed}".encode()))
    wanted = SIZES[split] if size is None else size
    found: dict[str, dict[str, Any]] = {}
    while len(found) < wanted:
        row = _row(chance)
        if share_of(row["context"]) == split:
            found.setdefault(row["context"], {"id": f"{split}-{len(found) + 1}", **row})
    return list(found.values())


def _row(chance: Chance) -> dict[str, Any]:
    deeds = list(_deeds(chance))
    at = chance.pick(range(len(deeds)))
    # No question asks for a thing: the encoder's vocabulary has "who", but no "what".
    for_doer = deeds[at].other[-1] in THINGS or chance.happens(0.5)
    question, answer, start = deeds[at].ask(for_doer)
    start += sum(len(deed.sentence) + 1 for deed in deeds[:at])
    context = " ".join(deed.sentence for deed in deeds)
    answers = {"text": [answer], "answer_start": [start]}
    return {"context": context, "question": question, "answers": answers}


def _deeds(chance: Chance) -> Iterator[Deed]:
    """Yield the sentences of a story; no verb, person or thing occurs in two of them."""
    verbs = sample(chance, VERBS, chance.pick(SENTENCES))
    people = _described(chance, PEOPLE, lex.PERSON_ADJECTIVES, 2 * len(verbs))
    things = _described(chance, THINGS, lex.THING_ADJECTIVES, len(verbs))
    for verb in verbs:
        others = people if verb in lex.PERSON_VERBS else things
        yield Deed(next(people), verb.ing, next(others), _place(chance))


def _described(
    chance: Chance, heads: Sequence[str], adjectives: Sequence[str], count: int
) -> Iterator[Words]:
    """Yield noun phrases with different heads, names without an article."""
    for head in sample(chance, heads, count):
        looks = (chance.pick(adjectives),) if chance.happens(0.3) else ()
        yield (head,) if head in lex.NAMES else ("the", *looks, head)


def _place(chance: Chance) -> Words:
    if chance.happens(0.7):
        return ()
    return (chance.pick(lex.PLACE_PREPOSITIONS), "the", chance.pick(lex.PLACES).singular)
