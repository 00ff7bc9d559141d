"""From logits to answers, and from answers to the numbers of a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from goft_cli.tasks.mmlu.prompts import Prompt
from goft_cli.tasks.mmlu.questions import LETTERS, Question

Answers = Sequence[Mapping[str, Any]]


def describe(
    questions: Sequence[Question], prompts: Sequence[Prompt], logits: Tensor
) -> list[dict[str, Any]]:
    """Return each question with the right answer, the model's, and how sure it was.

    Args:
        questions: of one subject.
        prompts: what the model was given for each.
        logits: (questions, letters); the largest one is the answer.
    """
    probabilities = logits.softmax(dim=-1).tolist()
    best = logits.argmax(dim=-1).tolist()
    return [
        {
            "subject": question.subject,
            "question": question.question,
            "choices": list(question.choices),
            "exemplars": len(prompt.exemplars),
            "shortened": prompt.shortened,
            "answer": LETTERS[question.answer],
            "prediction": LETTERS[chosen],
            "probabilities": shares,
        }
        for question, prompt, chosen, shares in zip(
            questions, prompts, best, probabilities, strict=True
        )
    ]


def accuracy(answers: Answers) -> float:
    """Return the share of answers that are right."""
    return sum(one["prediction"] == one["answer"] for one in answers) / len(answers)


def averages(
    answers: Mapping[str, Answers], categories: Mapping[str, Sequence[str]]
) -> dict[str, float]:
    """Return the accuracy of all answers and of each category's; every question counts alike.

    Args:
        answers: by subject.
        categories: subjects by category; a category without any question is left out.
    """
    members = {"average": list(answers), **categories}
    pooled = {
        name: [one for subject in subjects for one in answers.get(subject, [])]
        for name, subjects in members.items()
    }
    return {name: accuracy(found) for name, found in pooled.items() if found}
