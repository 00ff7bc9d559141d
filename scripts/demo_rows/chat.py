"""The twelve questions of `demo/chat`, in the nine categories of Vicuna-Eval.

The questions are short, because the tiny model has 256 positions. Its answers make no sense.
"""

from __future__ import annotations

from typing import Any

QUESTIONS = (
    ("generic", "How can I make a small kitchen feel larger without spending much?"),
    ("generic", "What should two friends settle before they rent a flat together?"),
    ("knowledge", "Why does bread rise, and why does it stop rising?"),
    ("knowledge", "How did ships find their position before there were satellites?"),
    ("roleplay", "You keep a lighthouse in winter. Tell a visitor about your day."),
    ("common-sense", "Someone carries an umbrella on a dry day. What may be the reasons?"),
    ("fermi", "About how many loaves of bread does a town of ten thousand eat in a year?"),
    ("counterfactual", "What if cats could read and wished to?"),
    (
        "coding",
        "Write a Python function that tells whether two lists hold the same numbers in any order.",
    ),
    ("math", "A jar holds three red and five blue marbles. How many are there in all?"),
    ("math", "What is two plus three?"),
    ("writing", "Write a short note that thanks a neighbour for watering the plants."),
)


def generate() -> list[dict[str, Any]]:
    """Return the questions as rows of FastChat's format."""
    return [
        {"question_id": number, "category": category, "turns": [text]}
        for number, (category, text) in enumerate(QUESTIONS, start=1)
    ]
