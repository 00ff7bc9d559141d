"""Draw the finite verb groups of the demo grammar: tense, auxiliaries, negation, their faults."""

from __future__ import annotations

from scripts.demo_rows import lexicon as lex
from scripts.demo_rows.grammar import AUXILIARY, ORDER, Chance, Phrase, text, word


def _by_number(plural: bool, singular_form: str, plural_form: str) -> tuple[str, str]:
    """Return (right form, wrong form) for that number."""
    return (plural_form, singular_form) if plural else (singular_form, plural_form)


class Predicates:
    """Draws the finite part of a clause, for a subject of known number."""

    def __init__(self, chance: Chance) -> None:
        self._chance = chance

    def finite(self, verb: lex.Verb, plural: bool) -> Phrase:
        """Draw tense and auxiliary for a verb; the faults are those of the whole group."""
        tense = self._chance.weighted(
            {"present": 3.5, "past": 1, "progressive": 2, "perfect": 1.5, "modal": 1.2, "do": 1}
        )
        if tense == "present":
            return self._present(verb, plural)
        if tense == "past":
            wrong = [verb.ing, *([verb.participle] if verb.irregular else [])]
            return word(verb.past, verb_form=wrong)
        if tense == "progressive":
            return self._progressive(verb, plural)
        if tense == "perfect":
            return self._perfect(verb, plural)
        if tense == "modal":
            return self._modal(verb, plural)
        return self._negated(verb, plural)

    def state(self, adjective: str, plural: bool) -> Phrase:
        """Draw a form of `be` before an adjective."""
        be = self._be(plural, missing=True)
        middle = text("not") if self._chance.happens(0.15) else Phrase()
        phrase = be + middle + text(adjective)
        return phrase if middle.words else phrase.swappable(0)

    def inverted(self, verb: lex.Verb, plural: bool) -> tuple[Phrase, Phrase]:
        """Draw the auxiliary before and the verb after the subject of a yes/no question."""
        tense = self._chance.weighted({"progressive": 1, "perfect": 1, "do": 1, "modal": 0.7})
        if tense == "progressive":
            right, wrong = _by_number(plural, *self._chance.pick((("is", "are"), ("was", "were"))))
            return word(right, agreement=[wrong]), word(verb.ing, verb_form=[verb.base, verb.third])
        if tense == "perfect":
            right, wrong = _by_number(plural, "has", "have")
            return word(right, agreement=[wrong]), self._participle(verb)
        base = word(verb.base, verb_form=[verb.third, verb.ing, verb.past])
        if tense == "modal":
            return text(self._chance.pick(lex.MODALS)), base
        right, wrong = _by_number(plural, "does", "do")
        return word(right, agreement=[wrong]), base

    def _present(self, verb: lex.Verb, plural: bool) -> Phrase:
        right, wrong = _by_number(plural, verb.third, verb.base)
        adverb = self._chance.pick(lex.FREQUENCY_ADVERBS)
        before = text(adverb) if self._chance.happens(0.2) else Phrase()
        return before + word(right, agreement=[wrong], verb_form=[verb.ing])

    def _progressive(self, verb: lex.Verb, plural: bool) -> Phrase:
        ing = word(verb.ing, verb_form=[verb.base, verb.third])
        return self._be(plural, missing=True) + self._middle() + ing

    def _perfect(self, verb: lex.Verb, plural: bool) -> Phrase:
        right, wrong = _by_number(plural, "has", "have")
        have = self._auxiliary(right, wrong, missing=verb.irregular)
        middle = self._middle()
        phrase = have + middle + self._participle(verb)
        return phrase if middle.words else phrase.swappable(0)

    def _participle(self, verb: lex.Verb) -> Phrase:
        # "has visits" is correct if "visits" is a noun, so the third person is no fault here.
        wrong = [verb.ing, *([verb.past, verb.base] if verb.irregular else [])]
        return word(verb.participle, verb_form=wrong)

    def _modal(self, verb: lex.Verb, plural: bool) -> Phrase:
        modal = self._chance.pick(lex.MODALS)
        # Without its modal a plural clause would be a correct present tense.
        missing = [] if plural else [""]
        auxiliary = word(
            modal, auxiliary=[*missing, f"{modal} {_by_number(plural, 'is', 'are')[0]}"]
        )
        base = word(verb.base, verb_form=[verb.third, verb.ing, verb.past])
        middle = self._middle()
        phrase = auxiliary + middle + base
        return phrase if middle.words else phrase.swappable(0)

    def _negated(self, verb: lex.Verb, plural: bool) -> Phrase:
        right, wrong = _by_number(plural, "does", "do")
        do = self._auxiliary(right, wrong, missing=True)
        base = word(verb.base, verb_form=[verb.third, verb.ing, verb.past])
        return (do + text("not") + base).with_fault(ORDER, 0, 2, "not", right)

    def _be(self, plural: bool, *, missing: bool) -> Phrase:
        pair = self._chance.pick((("is", "are"), ("is", "are"), ("was", "were")))
        return self._auxiliary(*_by_number(plural, *pair), missing=missing)

    def _auxiliary(self, right: str, wrong: str, *, missing: bool) -> Phrase:
        doubled = f"{right} {self._chance.pick(('will', 'can'))}"
        phrase = word(right, agreement=[wrong], auxiliary=[doubled])
        return phrase.with_fault(AUXILIARY, 0, 1) if missing else phrase

    def _middle(self) -> Phrase:
        kind = self._chance.weighted({"none": 5, "not": 1, "adverb": 0.7})
        if kind == "none":
            return Phrase()
        return text("not" if kind == "not" else self._chance.pick(lex.FREQUENCY_ADVERBS))
