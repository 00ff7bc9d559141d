"""The words of the demo grammar.

The lists are chosen so that no fault of the grammar yields another correct sentence: no noun
with equal singular and plural, no verb that takes a bare infinitive (`see`, `help`), no verb whose
base equals its past, no determiner `that` (it is also a complementizer).
"""

from __future__ import annotations

from typing import Literal, NamedTuple

Gender = Literal["male", "female"]


class Noun(NamedTuple):
    """A countable noun; `gender` is set if only one reflexive pronoun is right."""

    singular: str
    plural: str
    gender: Gender | None = None


class Verb(NamedTuple):
    """The five forms of a verb: walk, walks, walked, walked, walking."""

    base: str
    third: str
    past: str
    participle: str
    ing: str

    @property
    def irregular(self) -> bool:
        """Whether the participle differs from the past tense."""
        return self.past != self.participle


def words(line: str) -> tuple[str, ...]:
    """Return the words of a line."""
    return tuple(line.split())


def _plural(singular: str) -> str:
    if singular.endswith(("s", "x", "ch", "sh")):
        return singular + "es"
    if singular.endswith("y") and singular[-2] not in "aeiou":
        return singular[:-1] + "ies"
    return singular + "s"


def _nouns(words: str) -> tuple[Noun, ...]:
    """Parse nouns: `word`, or `word/plural` if the plural is irregular."""
    pairs = (word.partition("/") for word in words.split())
    return tuple(Noun(one, many or _plural(one)) for one, _, many in pairs)


def _ing(base: str) -> str:
    return base[:-1] + "ing" if base.endswith("e") else base + "ing"


def _regular(base: str) -> Verb:
    if base.endswith("e"):
        past = base + "d"
    elif base.endswith("y") and base[-2] not in "aeiou":
        past = base[:-1] + "ied"
    else:
        past = base + "ed"
    return Verb(base, _plural(base), past, past, _ing(base))


def _verbs(words: str) -> tuple[Verb, ...]:
    """Parse verbs: `base`, or `base/past/participle[/ing]` if the verb is irregular."""
    verbs = []
    for word in words.split():
        base, *forms = word.split("/")
        if forms:
            ing = forms[2] if len(forms) > 2 else _ing(base)
            verbs.append(Verb(base, _plural(base), forms[0], forms[1], ing))
        else:
            verbs.append(_regular(base))
    return tuple(verbs)


MEN = tuple(n._replace(gender="male") for n in _nouns("boy man/men king uncle brother prince"))
WOMEN = tuple(n._replace(gender="female") for n in _nouns("girl woman/women queen aunt sister"))
PEOPLE = (*MEN, *WOMEN, *_nouns("teacher doctor student farmer driver neighbor baker pilot singer"))
ANIMALS = _nouns("dog cat horse bird wolf/wolves mouse/mice lion tiger rabbit monkey")
THINGS = _nouns(
    "ball book letter box key lamp picture bottle knife/knives apple hat chair clock basket "
    "bicycle map coat table spoon umbrella"
)
PLACES = _nouns("garden house kitchen forest park street library river station museum")
ANIMATE = (*PEOPLE, *ANIMALS)
NAMES: dict[str, Gender] = {
    **dict.fromkeys(("Tom", "Peter", "Paul", "David", "Jack"), "male"),
    **dict.fromkeys(("Anna", "Mary", "Lucy", "Emma", "Sarah"), "female"),
}

PERSON_VERBS = _verbs("admire chase describe praise avoid ignore trust follow visit call annoy")
THING_VERBS = _verbs(
    "repair carry paint clean own need draw/drew/drawn choose/chose/chosen steal/stole/stolen "
    "take/took/taken hide/hid/hidden wear/wore/worn"
)
# Verbs that need an object in every context.
STRICT_TRANSITIVE = frozenset(
    verb
    for verb in (*PERSON_VERBS, *THING_VERBS)
    if verb.base in {"admire", "describe", "praise", "avoid", "ignore", "trust", "annoy", "repair",
                     "carry", "own", "need", "take", "wear"}
)  # fmt: skip
INTRANSITIVE_VERBS = _verbs(
    "laugh smile wait arrive sneeze cough snore shiver yawn complain tremble disappear hesitate "
    "sleep/slept/slept"
)
CLAUSE_VERBS = _verbs("say/said/said think/thought/thought believe claim hope")
CONTROL_VERBS = _verbs("want try hope refuse plan/planned/planned/planning")

PERSON_ADJECTIVES = words("big small old young happy sad angry quiet tired hungry clever")
THING_ADJECTIVES = words("big small old new red green blue yellow white heavy")
PLACE_ADJECTIVES = words("big small old new quiet dark")
FREQUENCY_ADVERBS = words("often never always rarely usually")
FINAL_ADVERBS = words("quietly slowly today again here loudly")
PLACE_PREPOSITIONS = words("in near behind beside")
NOUN_PREPOSITIONS = words("near behind beside with")
MODALS = words("will can must should")
SINGULAR_DETERMINERS = words("a this every each")
PLURAL_DETERMINERS = words("these those many several two")
# No `if`: "if the boy were asleep" is a correct subjunctive, and no agreement fault.
SUBORDINATORS = words("because while when although")
NOMINATIVE = ("he", "she", "they")
ACCUSATIVE = ("him", "her", "them")
REFLEXIVE = ("himself", "herself", "themselves")
FUNCTION_WORDS = words(
    "the an there is are was were has have does do did not to that who and but , . ?"
)
