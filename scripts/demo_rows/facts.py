"""Draw facts with the demo grammar's words, as statements, questions and multiple choice."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from scripts.demo_rows import lexicon as lex
from scripts.demo_rows.grammar import Chance, spell

Option = TypeVar("Option")

NUMBERS = lex.words(
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
    "sixteen seventeen eighteen"
)
KINDS = {"person": lex.PEOPLE, "animal": lex.ANIMALS, "thing": lex.THINGS, "place": lex.PLACES}
OPPOSITES = {"big": "small", "old": "new", "happy": "sad", "quiet": "loud", "dark": "bright"}
COLOURS = lex.words("red green blue yellow white")
LETTERS = "ABCD"


@dataclass(frozen=True)
class Fact:
    """One fact: `answer` is right in `context`, which may be empty; `others` are wrong answers."""

    statement: str
    question: str
    answer: str
    others: tuple[str, ...]
    context: str = ""


def draw(chance: Chance) -> Fact:
    """Draw one fact of any sort."""
    return chance.pick(tuple(SORTS.values()))(chance)


def as_question(fact: Fact) -> str:
    """Write the fact as a question with its answer."""
    lead = f"{fact.context}\n" if fact.context else ""
    return f"{lead}Question: {fact.question}\nAnswer: {fact.answer}"


def options_of(fact: Fact, chance: Chance) -> tuple[list[str], int]:
    """Draw four options, and return them with the index of the right one."""
    options = sample(chance, fact.others, len(LETTERS) - 1)
    place = chance.pick(range(len(LETTERS)))
    options.insert(place, fact.answer)
    return options, place


def as_choices(fact: Fact, chance: Chance) -> str:
    """Write the fact as a question with four lettered options and the right letter."""
    options, place = options_of(fact, chance)
    lines = [f"{letter}. {option}" for letter, option in zip(LETTERS, options, strict=True)]
    lead = [fact.context] if fact.context else []
    return "\n".join([*lead, f"Question: {fact.question}", *lines, f"Answer: {LETTERS[place]}"])


def texts(size: int, seed: int = 0) -> Iterator[str]:
    """Yield facts as statements, questions and multiple choice, for next-token pretraining."""
    chance = Chance(zlib.crc32(f"facts/{seed}".encode()))
    for _ in range(size):
        fact = draw(chance)
        form = chance.weighted({"statement": 3, "question": 4, "choices": 3})
        if form == "statement":
            yield f"{fact.context} {fact.statement}".strip()
        elif form == "question":
            yield as_question(fact)
        else:
            yield as_choices(fact, chance)


def sample(chance: Chance, options: Sequence[Option], count: int) -> list[Option]:
    """Draw `count` different options in random order."""
    left = list(dict.fromkeys(options))
    return [left.pop(chance.pick(range(len(left)))) for _ in range(count)]


def _except(options: Sequence[str], *right: str) -> tuple[str, ...]:
    return tuple(option for option in options if option not in right)


def _sum(chance: Chance) -> Fact:
    first, second = chance.pick(range(10)), chance.pick(range(10))
    left, right, total = NUMBERS[first], NUMBERS[second], NUMBERS[first + second]
    statement = f"{left.capitalize()} plus {right} is {total}."
    return Fact(statement, f"What is {left} plus {right}?", total, _except(NUMBERS, total))


def _larger(chance: Chance) -> Fact:
    small = chance.pick(range(len(NUMBERS) - 3))
    large = small + 1 + chance.pick(range(len(NUMBERS) - 1 - small))
    low, high = NUMBERS[small], NUMBERS[large]
    return Fact(
        f"{high.capitalize()} is more than {low}.",
        f"Which is more, {low} or {high}?",
        high,
        _except(NUMBERS, high),
    )


def _kind(chance: Chance) -> Fact:
    kind = chance.pick(tuple(KINDS))
    noun = chance.pick(KINDS[kind]).singular
    statement = spell(["a", noun, "is", "a", kind, "."])
    others = (*_except(tuple(KINDS), kind), "number")
    return Fact(statement, spell(["what", "is", "a", noun, "?"]), kind, others)


def _plural(chance: Chance) -> Fact:
    noun = chance.pick((*lex.ANIMATE, *lex.THINGS, *lex.PLACES))
    others = [chance.pick(lex.ANIMATE).plural for _ in range(4)] + [noun.singular, "books", "keys"]
    return Fact(
        f"One {noun.singular}, two {noun.plural}.",
        f"One {noun.singular}, two what?",
        noun.plural,
        _except(others, noun.plural),
    )


def _opposite(chance: Chance) -> Fact:
    pairs = (*OPPOSITES.items(), *((value, key) for key, value in OPPOSITES.items()))
    word, opposite = chance.pick(pairs)
    others = _except((*OPPOSITES, *OPPOSITES.values()), word, opposite)
    question = f"What is the opposite of {word}?"
    return Fact(f"The opposite of {word} is {opposite}.", question, opposite, others)


def _owner(chance: Chance) -> Fact:
    first, second, *rest = sample(chance, tuple(lex.NAMES), 5)
    mine, yours = sample(chance, [thing.singular for thing in lex.THINGS], 2)
    context = f"{_has(first, mine)} {_has(second, yours)}"
    return Fact(
        f"The {mine} is with {first}.",
        f"Who has the {mine}?",
        first,
        (second, *rest),
        context if chance.happens(0.5) else f"{_has(second, yours)} {_has(first, mine)}",
    )


def _colour(chance: Chance) -> Fact:
    name = chance.pick(tuple(lex.NAMES))
    thing = chance.pick(lex.THINGS).singular
    colour = chance.pick(COLOURS)
    return Fact(
        f"The {thing} is {colour}.",
        f"What colour is the {thing}?",
        colour,
        _except((*COLOURS, "black"), colour),
        _has(name, colour, thing),
    )


def _has(name: str, *thing: str) -> str:
    return spell([name, "has", "a", *thing, "."])


SORTS: dict[str, Callable[[Chance], Fact]] = {
    "sum": _sum,
    "larger": _larger,
    "kind": _kind,
    "plural": _plural,
    "opposite": _opposite,
    "owner": _owner,
    "colour": _colour,
}
"""Functions that draw a fact, by sort."""
