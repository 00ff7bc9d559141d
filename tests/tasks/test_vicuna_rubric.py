"""The judge's prompts have each text in its place, and references where they are required."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from goft_cli.config import JudgeConfig, WithoutReference
from goft_cli.system.errors import GoftError
from goft_cli.tasks.vicuna.judging import make_requests
from goft_cli.tasks.vicuna.questions import Question
from goft_cli.tasks.vicuna.rubric import OWN_GENERAL, OWN_REFERENCED, Rubric, read_rubric
from tests.support.judge_server import write_prompts

MATHS = Question(1, "math", "What is {answer}?")


def test_mathematics_is_judged_beside_its_reference() -> None:
    rubric = Rubric(references={1: "It is {question}."})
    (request,) = make_requests([MATHS], {1: "{ref_answer_1}"}, rubric, "gpt-test")
    assert request.prompt == OWN_REFERENCED.name
    text = request.messages[1]["content"]
    # a placeholder inside a text is not replaced
    for part in ("What is {answer}?", "It is {question}.", "{ref_answer_1}"):
        assert text.count(part) == 1


def test_a_missing_reference_is_refused_skipped_or_done_without() -> None:
    def ask(choice: WithoutReference) -> list[str]:
        rubric = Rubric(without_reference=choice)
        return [r.prompt for r in make_requests([MATHS], {1: "5"}, rubric, "gpt-test")]

    with pytest.raises(GoftError, match=r"question 1 \(math\).*task"):
        ask(WithoutReference.refuse)
    assert ask(WithoutReference.skip) == []
    assert ask(WithoutReference.general) == [OWN_GENERAL.name]


def test_fastchats_prompts_and_references_are_read(tmp_path: Path) -> None:
    prompts = write_prompts(tmp_path / "judge_prompts.jsonl")
    references = tmp_path / "gpt-4.jsonl"
    row = {"question_id": 1, "choices": [{"index": 0, "turns": ["Four."]}]}
    references.write_text(json.dumps(row) + "\n", encoding="utf-8")
    rubric = read_rubric(JudgeConfig(prompts=str(prompts), references=str(references)))
    (request,) = make_requests([MATHS], {1: "4"}, rubric, "gpt-4")
    assert request.prompt == "single-math-v1"
    assert request.messages == [
        {"role": "system", "content": "S"},
        {"role": "user", "content": "What is {answer}? 4 Four."},
    ]


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"name": "pair-v2"}, "no prompt single-math-v1 there; found single-v1, pair-v2"),
        ({"prompt_template": "{answer}"}, r"has no place {question}, {ref_answer_1}"),
        ({"system_prompt": None}, "no prompt single-math-v1 there"),
    ],
)
def test_another_file_of_prompts_is_refused(
    changes: dict[str, object], complaint: str, tmp_path: Path
) -> None:
    prompts = write_prompts(tmp_path / "prompts.jsonl", **changes)
    with pytest.raises(GoftError, match=complaint):
        read_rubric(JudgeConfig(prompts=str(prompts)))


@pytest.mark.parametrize(
    "row",
    [
        "{}",
        '{"question_id": 1, "choices": [{"turns": [4]}]}',
        '{"question_id": 1, "choices": [{"turns": []}]}',
    ],
)
def test_another_file_of_references_is_refused(row: str, tmp_path: Path) -> None:
    (tmp_path / "references.jsonl").write_text(row + "\n", encoding="utf-8")
    with pytest.raises(GoftError, match=r"references.jsonl: .*FastChat's"):
        read_rubric(JudgeConfig(references=str(tmp_path / "references.jsonl")))


def test_own_prompts_have_a_place_for_everything() -> None:
    for prompt in (OWN_GENERAL, OWN_REFERENCED):
        assert "{question}" in prompt.template
        assert "{answer}" in prompt.template
    assert "{ref_answer_1}" in OWN_REFERENCED.template
    assert "{ref_answer_1}" not in OWN_GENERAL.template
