"""Draw the sentences of the demo grammar: nominals, predicates, clauses, whole sentences."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from scripts.demo_rows import lexicon as lex
from scripts.demo_rows.grammar import ARGUMENT, Chance, Phrase, text, word
from scripts.demo_rows.predicates import Predicates

Role = Literal["subject", "object", "other"]
MAX_DEPTH = 2


@dataclass(frozen=True)
class Nominal:
    """A noun phrase, with the number and gender that a verb or a reflexive must agree with."""

    phrase: Phrase
    plural: bool
    gender: lex.Gender | None = None

    @property
    def reflexive(self) -> str | None:
        """The only right reflexive pronoun, or None if two are right."""
        if self.plural:
            return "themselves"
        return {"male": "himself", "female": "herself", None: None}[self.gender]


class Sentences:
    """Draws sentences from the grammar; the same `Chance` gives the same sentences."""

    def __init__(self, chance: Chance) -> None:
        self._chance = chance
        self._predicates = Predicates(chance)

    def sentence(self) -> Phrase:
        """Draw one sentence with its final punctuation."""
        shape = self._chance.weighted(
            {"clause": 6, "question": 1, "existential": 1, "subordinate": 1.2, "coordinate": 0.8}
        )
        if shape == "question":
            return self._question() + text("?")
        if shape == "existential":
            return self._existential() + text(".")
        if shape == "subordinate":
            return self._subordinate() + text(".")
        if shape == "coordinate":
            joined = text(",", self._chance.pick(("and", "but")))
            return self.clause(1) + joined + self.clause(1) + text(".")
        return self.clause(0) + text(".")

    def clause(self, depth: int) -> Phrase:
        """Draw subject and predicate; only clauses less deep than `MAX_DEPTH` embed others."""
        subject = self._subject(depth)
        return subject.phrase + self._predicate(subject, depth)

    def _subordinate(self) -> Phrase:
        marker = text(self._chance.pick(lex.SUBORDINATORS))
        if self._chance.happens(0.5):
            return marker + self.clause(2) + text(",") + self.clause(1)
        return self.clause(1) + marker + self.clause(2)

    def _existential(self) -> Phrase:
        plural = self._chance.happens(0.5)
        right, wrong = ("are", "is") if plural else ("is", "are")
        nominal = self._common("object", plural, self._chance.pick(lex.THINGS), indefinite=True)
        return text("there") + word(right, agreement=[wrong]) + nominal.phrase + self._place()

    def _question(self) -> Phrase:
        subject = self._subject(1)
        auxiliary, verb = self._predicates.inverted(
            self._chance.pick(lex.INTRANSITIVE_VERBS), subject.plural
        )
        return auxiliary + subject.phrase + verb + self._tail()

    def _subject(self, depth: int) -> Nominal:
        kind = self._chance.weighted({"common": 7, "name": 1.3, "pronoun": 1.2, "pair": 0.6})
        if kind == "name":
            name = self._chance.pick(tuple(lex.NAMES))
            return Nominal(text(name), plural=False, gender=lex.NAMES[name])
        if kind == "pronoun":
            which = self._chance.pick(range(3))
            phrase = word(lex.NOMINATIVE[which], case=[lex.ACCUSATIVE[which]])
            genders: tuple[lex.Gender | None, ...] = ("male", "female", None)
            return Nominal(phrase, plural=which == 2, gender=genders[which])
        if kind == "pair" and depth == 0:
            first, second = self._animate("subject"), self._animate("subject")
            return Nominal(first.phrase + text("and") + second.phrase, plural=True)
        return self._modified(self._animate("subject"), depth)

    def _modified(self, head: Nominal, depth: int) -> Nominal:
        """Put no distractor, a prepositional phrase or a clause between a noun and its verb."""
        kind = self._chance.weighted({"none": 5, "near": 3, "relative": 2.5})
        if kind == "none" or depth >= MAX_DEPTH:
            return head
        if kind == "near":
            preposition = text(self._chance.pick(lex.NOUN_PREPOSITIONS))
            tail = preposition + self._animate("other").phrase
        else:
            tail = self._relative(head)
        return Nominal(head.phrase + tail, head.plural, head.gender)

    def _relative(self, head: Nominal) -> Phrase:
        if self._chance.happens(0.5):
            return text("that") + self._predicate(head, MAX_DEPTH)
        verb = self._chance.pick(lex.PERSON_VERBS)
        subject = self._animate("subject")
        group = self._predicates.finite(verb, subject.plural)
        extra = self._animate("object").phrase.words
        end = len(group.words)
        gap = group.with_fault(ARGUMENT, end, end, *extra)
        return text("that") + subject.phrase + gap

    def _animate(self, role: Role) -> Nominal:
        return self._common(role, self._chance.happens(0.5), self._chance.pick(lex.ANIMATE))

    def _common(
        self, role: Role, plural: bool, noun: lex.Noun, *, indefinite: bool = False
    ) -> Nominal:
        """Draw a determiner, perhaps an adjective, and a noun."""
        adjectives = lex.PERSON_ADJECTIVES
        if noun in lex.THINGS:
            adjectives = lex.THING_ADJECTIVES
        elif noun in lex.PLACES:
            adjectives = lex.PLACE_ADJECTIVES
        determiner = self._determiner(plural, indefinite)
        right, wrong = (noun.plural, noun.singular) if plural else (noun.singular, noun.plural)
        strict = determiner.words != ("the",)
        head = word(right, determiner=[wrong] if strict and role == "object" else [])
        if self._chance.happens(0.3):
            phrase = (determiner + text(self._chance.pick(adjectives)) + head).swappable(0)
            # "paints the door red" is fine, so an object keeps its adjective in front.
            phrase = phrase if role == "object" else phrase.swappable(1)
        else:
            phrase = (determiner + head).swappable(0)
        return Nominal(phrase, plural, noun.gender)

    def _determiner(self, plural: bool, indefinite: bool) -> Phrase:
        own, other = lex.SINGULAR_DETERMINERS, lex.PLURAL_DETERMINERS
        if plural:
            own, other = other, own
        if indefinite:
            right = self._chance.pick(("many", "several", "two")) if plural else "a"
        elif self._chance.happens(0.5):
            return word("the", determiner=[] if plural else [""])
        else:
            right = self._chance.pick(own)
        # A bare plural is a correct noun phrase, a bare singular is not.
        return word(right, determiner=[self._chance.pick(other), *([] if plural else [""])])

    def _predicate(self, subject: Nominal, depth: int) -> Phrase:
        embeds = 1.0 if depth < MAX_DEPTH else 0.0
        kind = self._chance.weighted(
            {
                "intransitive": 2.5,
                "transitive": 4,
                "state": 1.5,
                "reflexive": 1.2 if subject.reflexive else 0,
                "report": 1.2 * embeds,
                "control": 1,
            }
        )
        if kind == "intransitive":
            return self._intransitive(subject.plural)
        if kind == "transitive":
            return self._transitive(subject.plural)
        if kind == "state":
            adjective = self._chance.pick(lex.PERSON_ADJECTIVES)
            return self._predicates.state(adjective, subject.plural)
        if kind == "reflexive" and subject.reflexive:
            return self._reflexive(subject.plural, subject.reflexive)
        if kind == "report":
            verb = self._predicates.finite(self._chance.pick(lex.CLAUSE_VERBS), subject.plural)
            return verb + text("that") + self.clause(depth + 1)
        return self._control(subject.plural)

    def _intransitive(self, plural: bool) -> Phrase:
        verb = self._predicates.finite(self._chance.pick(lex.INTRANSITIVE_VERBS), plural)
        extra = self._common("object", self._chance.happens(0.5), self._chance.pick(lex.THINGS))
        end = len(verb.words)
        return verb.with_fault(ARGUMENT, end, end, *extra.phrase.words) + self._tail()

    def _transitive(self, plural: bool) -> Phrase:
        if self._chance.happens(0.5):
            verb, patient = self._chance.pick(lex.PERSON_VERBS), self._person_object()
        else:
            noun = self._chance.pick(lex.THINGS)
            verb = self._chance.pick(lex.THING_VERBS)
            patient = self._common("object", self._chance.happens(0.5), noun).phrase
        group = self._predicates.finite(verb, plural)
        end = len(group.words)
        phrase = group + patient
        if verb in lex.STRICT_TRANSITIVE:
            phrase = phrase.with_fault(ARGUMENT, end, len(phrase.words))
        return phrase + (self._tail() if self._chance.happens(0.3) else Phrase())

    def _person_object(self) -> Phrase:
        if self._chance.happens(0.2):
            which = self._chance.pick(range(3))
            return word(lex.ACCUSATIVE[which], case=[lex.NOMINATIVE[which]])
        return self._animate("object").phrase

    def _reflexive(self, plural: bool, right: str) -> Phrase:
        wrong = [pronoun for pronoun in lex.REFLEXIVE if pronoun != right]
        verb = self._predicates.finite(self._chance.pick(lex.PERSON_VERBS), plural)
        return verb + word(right, reflexive=wrong)

    def _control(self, plural: bool) -> Phrase:
        verb = self._chance.pick(lex.INTRANSITIVE_VERBS)
        matrix = self._predicates.finite(self._chance.pick(lex.CONTROL_VERBS), plural)
        return matrix + text("to") + word(verb.base, verb_form=[verb.third, verb.ing])

    def _tail(self) -> Phrase:
        kind = self._chance.weighted({"none": 2, "adverb": 1, "place": 1.5})
        if kind == "none":
            return Phrase()
        if kind == "adverb":
            return text(self._chance.pick(lex.FINAL_ADVERBS))
        return self._place()

    def _place(self) -> Phrase:
        preposition = text(self._chance.pick(lex.PLACE_PREPOSITIONS))
        plural = self._chance.happens(0.2)
        place = self._common("other", plural, self._chance.pick(lex.PLACES))
        return (preposition + place.phrase).swappable(0)
