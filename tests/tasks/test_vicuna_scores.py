"""Judgments give mean ratings, and the numbers of questions won, tied and lost."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goft_cli.system.errors import GoftError
from goft_cli.tasks.vicuna.judging import (
    comparison_scores,
    opponent_ratings,
    rating_scores,
    read_judgments,
)
from goft_cli.tasks.vicuna.questions import Question, Row

CATEGORIES = ["generic", "writing", "common-sense", "generic"] * 3
QUESTIONS = [Question(n, category, f"Question <{n}>?") for n, category in enumerate(CATEGORIES, 1)]


def rows_of(scores: dict[int, float], judge: tuple[str, str] = ("j", "p")) -> dict[int, Row]:
    """Return judgments of the questions with these scores."""
    texts = {question.question_id: question.text for question in QUESTIONS}
    return {
        number: {
            "question_id": number,
            "judge": list(judge),
            "user_prompt": f"Judge {texts[number]}",
            "score": score,
        }
        for number, score in scores.items()
    }


def test_means_leave_out_what_has_no_rating() -> None:
    found = rating_scores(QUESTIONS, rows_of({1: 4, 2: -1, 3: 9.5, 4: 6, 5: -1}))
    assert found == {
        "rating": 6.5,
        "rating_generic": 5,
        "rating_common_sense": 9.5,
        "rated": 3,
        "failed": 2,
    }


def test_a_judge_that_never_rates_is_no_result() -> None:
    with pytest.raises(GoftError, match=r"none of 2 answers a rating"):
        rating_scores(QUESTIONS, rows_of({1: -1, 2: -1}))


ratings = st.dictionaries(st.integers(1, 12), st.integers(1, 10).map(float))


@given(ratings, ratings)
def test_comparing_the_other_way_round_swaps_wins_and_losses(
    ours: dict[int, float], theirs: dict[int, float]
) -> None:
    found = comparison_scores(ours, theirs)
    back = comparison_scores(theirs, ours)
    assert (found["win"], found["tie"], found["lose"]) == (back["lose"], back["tie"], back["win"])
    assert sum(found.values()) == len(ours.keys() & theirs.keys())
    assert comparison_scores(ours, ours)["tie"] == len(ours)


def test_half_a_point_decides_and_less_than_a_tenth_does_not() -> None:
    found = comparison_scores({1: 7.5, 2: 7.0, 3: 7.05, 4: 3}, {1: 7.0, 2: 7.5, 3: 7.0, 9: 1})
    assert found == {"win": 1, "tie": 1, "lose": 1}


def test_only_the_same_judge_prompt_and_question_compare() -> None:
    ours = rows_of({1: 5, 2: 5, 3: 5, 4: 5})
    alien = {**rows_of({3: 8})[3], "user_prompt": "Judge something else"}
    theirs = [
        *rows_of({1: 3}).values(),
        *rows_of({1: 6, 4: -1, 5: 9}).values(),
        *rows_of({2: 7}, ("j", "other")).values(),
        alien,
    ]
    assert opponent_ratings(theirs, QUESTIONS, ours, "there") == {1: 6}
    with pytest.raises(GoftError, match=r"j with p.*j with other"):
        opponent_ratings(list(rows_of({2: 7}, ("j", "other")).values()), QUESTIONS, ours, "there")


def test_judgments_are_a_file_or_in_a_folder(tmp_path: Path) -> None:
    with pytest.raises(GoftError, match=r"judgments.x.jsonl: cannot be read"):
        read_judgments(str(tmp_path), "judgments.x.jsonl")
    rows = list(rows_of({1: 5.5, 2: 3}).values())
    file = tmp_path / "judgments.x.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    assert read_judgments(str(tmp_path), file.name) == rows
    assert read_judgments(str(file), "ignored") == rows
    file.write_text('{"question_id": 1, "score": 5}\n', encoding="utf-8")
    with pytest.raises(GoftError, match=r"judge, user_prompt.*'question_id', 'score'"):
        read_judgments(str(file), file.name)
