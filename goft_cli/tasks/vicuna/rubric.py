"""The judge's prompts: the project's own, or FastChat's from a file of the user."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from goft_cli.config import JudgeConfig, WithoutReference
from goft_cli.system.errors import GoftError
from goft_cli.tasks.vicuna.questions import Question, read_answers, read_rows

OWN = "own"
REFERENCED = ("math", "reasoning", "coding")
"""Categories that FastChat rates with a reference answer (llm_judge/common.py)."""
QUESTION, ANSWER, REFERENCE = "{question}", "{answer}", "{ref_answer_1}"
FASTCHAT = {"single-v1": [QUESTION, ANSWER], "single-math-v1": [QUESTION, ANSWER, REFERENCE]}
"""FastChat's prompts for single answers of one turn, and the placeholders of each."""

Messages = list[dict[str, str]]


@dataclass(frozen=True)
class JudgePrompt:
    """A prompt with placeholders for the question, the answer and a reference answer."""

    name: str
    system: str
    template: str

    def messages(self, question: str, answer: str, reference: str | None) -> Messages:
        """Fill the placeholders; a placeholder inside an inserted text is not filled."""
        texts = {QUESTION: question, ANSWER: answer, REFERENCE: reference or ""}
        places = "|".join(map(re.escape, texts))
        filled = re.sub(places, lambda place: texts[place.group()], self.template)
        return [{"role": "system", "content": self.system}, {"role": "user", "content": filled}]


_SYSTEM = "You grade what language models write to their users."
_SCALE = (
    "End with a line that holds nothing but a mark from 1 (useless) to 10 (could not be better) in "
    'double square brackets, such as "[[4]]".'
)
_ANSWERED = f"\n\n<question>\n{QUESTION}\n</question>\n\n<answer>\n{ANSWER}\n</answer>"
OWN_GENERAL = JudgePrompt(
    "own-single",
    _SYSTEM,
    "Grade the answer below, siding with nobody. What counts: does it help, keep to the question, "
    "get its facts right, go into depth, show ideas of its own, and give enough particulars? "
    f"Say in a few sentences what you think of it. {_SCALE}{_ANSWERED}",
)
OWN_REFERENCED = JudgePrompt(
    "own-single-reference",
    _SYSTEM,
    "Grade the answer below, siding with nobody. What counts: is it right, and does it help? Hold "
    "it against the solution first, name each mistake and put it right. "
    f"{_SCALE}\n\n<solution>\n{REFERENCE}\n</solution>{_ANSWERED}",
)


@dataclass(frozen=True)
class Rubric:
    """The prompts, and the reference answers by question number."""

    general: JudgePrompt = OWN_GENERAL
    referenced: JudgePrompt = OWN_REFERENCED
    references: Mapping[int, str] = field(default_factory=dict)
    without_reference: WithoutReference = WithoutReference.refuse

    def prompt_for(self, question: Question) -> JudgePrompt | None:
        """Return the prompt for a question; None if the question is skipped."""
        if question.category not in REFERENCED:
            return self.general
        if question.question_id in self.references:
            return self.referenced
        if self.without_reference is WithoutReference.refuse:
            raise GoftError(
                f"question {question.question_id} ({question.category}) has no reference answer",
                "pass task.judge.references=FILE, FastChat's reference_answer/gpt-4.jsonl, or "
                "task.judge.without_reference=skip to leave such questions out, general to rate "
                "them like all others",
            )
        return None if self.without_reference is WithoutReference.skip else self.general


def read_rubric(judge: JudgeConfig) -> Rubric:
    """Read prompts and reference answers."""
    general, referenced = (
        (OWN_GENERAL, OWN_REFERENCED) if judge.prompts == OWN else read_prompts(judge.prompts)
    )
    references = {} if judge.references is None else read_answers(judge.references)
    return Rubric(general, referenced, references, judge.without_reference)


def read_prompts(path: str) -> tuple[JudgePrompt, JudgePrompt]:
    """Read the two prompts of `FASTCHAT` from its judge_prompts.jsonl."""
    rows = read_rows(path, wanted=("name", "system_prompt", "prompt_template"))
    by_name = {row["name"]: row for row in rows}
    prompts = []
    for name, places in FASTCHAT.items():
        row = by_name.get(name, {})
        system, template = row.get("system_prompt"), row.get("prompt_template")
        if not isinstance(system, str) or not isinstance(template, str):
            raise GoftError(
                f"task.judge.prompts={path}: no prompt {name} there; found "
                f"{', '.join(map(str, by_name))}",
                "expected FastChat's judge_prompts.jsonl",
            )
        absent = [place for place in places if place not in template]
        if absent:
            raise GoftError(
                f"task.judge.prompts={path}: prompt {name} has no place {', '.join(absent)}",
                "pass FastChat's judge_prompts.jsonl unchanged",
            )
        prompts.append(JudgePrompt(name, system, template))
    return prompts[0], prompts[1]
