"""Ratings are read from the judge's reply, requested once, and resumed after an interruption."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from threading import Barrier
from time import monotonic

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goft_cli.config import JudgeConfig
from goft_cli.system.errors import GoftError
from goft_cli.tasks.vicuna.client import ChatClient
from goft_cli.tasks.vicuna.judging import (
    judge_answers,
    make_requests,
    parse_rating,
    rating_scores,
    read_judgments,
)
from goft_cli.tasks.vicuna.questions import Question, Records, Row
from goft_cli.tasks.vicuna.rubric import read_rubric
from tests.support.judge_server import JudgeServer, Reply, Seen, says, status, write_prompts

QUESTIONS = [
    Question(number, category, f"Question <{number}>?")
    for number, category in enumerate(["generic", "writing", "common-sense", "generic"] * 3, 1)
]
ANSWERS = {question.question_id: f"Answer {question.question_id}." for question in QUESTIONS}
RATED = {number: number / 2 + 1 for number in ANSWERS}
KEY = "sk-very-secret-key-0123456789"

ratings = st.decimals(1, 10, places=1).map(str) | st.integers(1, 10).map(str)
numbers = st.decimals(0, 100, places=1).map(str) | st.integers(0, 100).map(str)
words = st.text(st.characters(exclude_characters="[]<>", exclude_categories=["Cs"]))
thoughts = st.builds("<think>{}[[{}]]{}</think>".format, words, numbers, words) | words


@given(thoughts, numbers, ratings, words, thoughts)
def test_the_last_double_bracket_outside_thoughts_wins(
    first: str, draft: str, rating: str, between: str, last: str
) -> None:
    assert parse_rating(f"{first}[[{draft}]]{between}[[{rating}]]{last}[3]") == float(rating)


@given(words, thoughts, words, numbers)
def test_without_double_brackets_there_is_no_rating(
    before: str, thought: str, after: str, number: str
) -> None:
    assert parse_rating(f"{before}{thought}{after}[{number}]") == -1


@given(numbers, words)
def test_a_rating_is_from_1_to_10(number: str, before: str) -> None:
    inside = 1 <= float(number) <= 10
    assert parse_rating(f"{before}[[5]] or [[{number}]]") == (float(number) if inside else -1)


@pytest.mark.parametrize(
    ("reply", "rating"),
    [
        ("Rating: [[8.5]]", 8.5),
        ("[[8/10]] or [[7]]", 7),
        ("[[7/10]]", -1),
        ("On a scale from [[1]] to [[10]]: [[6]]", 6),
        ("[[0]]", -1),
        ("[[11]]", -1),
        ("[[10.0]]", 10),
        ("[[10.5]]", -1),
        ("[[0.9]]", -1),
        ("[[-3]]", -1),
        ("[[ 5 ]]", -1),
        ("[[7.]]", 7),
        ("[[rating]] [4]", -1),
        ("As [1] shows. Rating: 8", -1),
        ("<think>[[3]]</think>[[8]]", 8),
        ("[[8]]<think>or [[3]]?</think>", 8),
        ("<think>[[3]]</think>[[8]]<think>[[2]]</think> Good.", 8),
        ("<think>perhaps [[3]]", -1),
        ("[[8]] <think>or [[3]]", 8),
        ("perhaps [[3]]</think>[[8]]", 8),
        ("perhaps [[3]]</think> Good.", -1),
        ("<think>a <think>b [[2]]</think> c [[3]]</think>[[8]]", 8),
        ("<think>The tag <think> is odd. [[3]]</think>[[8]]", 8),
        ("<think>\n[[3]]\n</think>\n\n[[8]]\n", 8),
        ("<think></think>", -1),
        ("[[\u0661]]", -1),
        ("8 out of 10", -1),
    ],
)
def test_forms_that_judges_use(reply: str, rating: float) -> None:
    assert parse_rating(reply) == rating


def judged(
    judge: JudgeServer, folder: Path, answers: dict[int, str], **changes: object
) -> dict[int, Row]:
    """Return the stand-in judge's judgments of answers, with waits of milliseconds."""
    config = JudgeConfig(
        base_url=judge.url, model="gpt-test", retries=1, backoff_seconds=0.001, concurrency=1
    )
    config = replace(config, **changes)
    return judge_answers(
        make_requests(QUESTIONS, answers, read_rubric(config), config.model),
        ChatClient(config),
        Records(folder / "judgments.jsonl"),
        "tested",
    )


def by_number(seen: Seen) -> Reply:
    """Rate the answer to question n with n / 2 + 1."""
    return says(f"[[{RATED[int(seen.user.split('<')[2].split('>')[0])]}]]")


def test_every_answer_is_rated_and_recorded(judge: JudgeServer, tmp_path: Path) -> None:
    judge.otherwise = by_number
    rows = judged(judge, tmp_path, ANSWERS)
    assert {number: row["score"] for number, row in rows.items()} == RATED
    lines = (tmp_path / "judgments.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == list(rows.values())
    assert rows[2]["judge"] == ["gpt-test", "own-single"]
    assert (rows[2]["model"], rows[2]["turn"], rows[2]["judgment"]) == ("tested", 1, "[[2.0]]")
    assert ANSWERS[2] in rows[2]["user_prompt"]


def test_what_is_judged_is_not_asked_again(judge: JudgeServer, tmp_path: Path) -> None:
    first = judged(judge, tmp_path, ANSWERS)
    asked = len(judge.seen)
    assert judged(judge, tmp_path, ANSWERS) == first
    assert len(judge.seen) == asked == len(ANSWERS)


@pytest.mark.parametrize(
    "changes", [{"model": "another"}, {"prompts": "file"}], ids=["judge", "prompt"]
)
def test_another_judge_or_prompt_is_another_judgment(
    changes: dict[str, str], judge: JudgeServer, tmp_path: Path
) -> None:
    judged(judge, tmp_path, ANSWERS)
    if "prompts" in changes:
        changes = {"prompts": str(write_prompts(tmp_path / "prompts.jsonl"))}
    judged(judge, tmp_path, ANSWERS, **changes)
    assert len(judge.seen) == 2 * len(ANSWERS)


def test_a_changed_answer_alone_is_judged_again(judge: JudgeServer, tmp_path: Path) -> None:
    judged(judge, tmp_path, ANSWERS)
    judge.otherwise = lambda _: says("[[2]]")
    rows = judged(judge, tmp_path, {**ANSWERS, 5: "Better."})
    assert len(judge.seen) == len(ANSWERS) + 1
    assert {number for number, row in rows.items() if row["score"] == 2} == {5}


@pytest.mark.parametrize("concurrency", [1, 4])
def test_an_interrupted_run_goes_on_where_it_stopped(
    concurrency: int, judge: JudgeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    judge.replies.extend([says("[[7]]")] * 5)
    judge.otherwise = lambda _: status(401, f"no {KEY}")
    with pytest.raises(GoftError, match=r"401 .*no \*\*\*"):
        judged(judge, tmp_path, ANSWERS, concurrency=concurrency)
    kept = (tmp_path / "judgments.jsonl").read_text(encoding="utf-8")
    assert kept.count("\n") == 5
    with (tmp_path / "judgments.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"question_id": 6, "mod')  # killed while writing
    judge.seen.clear()
    judge.otherwise = lambda _: says("[[7]]")
    rows = judged(judge, tmp_path, ANSWERS, concurrency=concurrency)
    assert len(judge.seen) == len(ANSWERS) - 5
    assert {row["score"] for row in rows.values()} == {7}
    written = (tmp_path / "judgments.jsonl").read_text(encoding="utf-8")
    assert written.startswith(kept)
    assert written.count("\n") == len(ANSWERS)
    assert KEY not in written


def test_a_refusal_ends_the_waiting_of_the_others(judge: JudgeServer, tmp_path: Path) -> None:
    judge.replies.extend([status(429, Retry_After="60"), status(404)])
    start = monotonic()
    with pytest.raises(GoftError, match=r"404 .*task.judge.base_url"):
        judged(judge, tmp_path, ANSWERS, concurrency=2)
    assert monotonic() - start < 30


def test_a_hopeless_reply_is_recorded_and_asked_for_again(
    judge: JudgeServer, tmp_path: Path
) -> None:
    judge.replies.extend([status(200, "{"), says("")])
    rows = judged(judge, tmp_path, ANSWERS)
    assert (rows[1]["score"], rows[1]["judgment"]) == (-1, "")
    assert "no chat completion" in rows[1]["error"]
    assert rows[2]["error"] is None
    asked = len(judge.seen)
    assert judged(judge, tmp_path, ANSWERS)[1]["score"] == 7
    assert len(judge.seen) == asked + 1


def test_a_refused_question_is_unrated_named_and_counted(
    judge: JudgeServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    judge.otherwise = lambda seen: (
        status(400, "content filter") if "<3>" in seen.user else by_number(seen)
    )
    rows = judged(judge, tmp_path, ANSWERS, concurrency=4)
    assert {number for number, row in rows.items() if row["score"] == -1} == {3}
    assert "content filter" in rows[3]["error"]
    assert any("question 3 " in message for message in caplog.messages)
    scores = rating_scores(QUESTIONS, rows)
    assert (scores["rated"], scores["failed"]) == (len(ANSWERS) - 1, 1)


def test_threads_that_meet_a_newer_service_together_say_so_once(
    judge: JudgeServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def newer(seen: Seen) -> Reply:
        old = "max_tokens" in seen.body
        return status(400, "max_tokens is not supported") if old else by_number(seen)

    judge.otherwise = newer
    rows = judged(judge, tmp_path, ANSWERS, concurrency=4)
    assert {number: row["score"] for number, row in rows.items()} == RATED
    assert sum("refuses max_tokens" in message for message in caplog.messages) == 1


def test_a_judge_that_refuses_every_question_is_quoted(judge: JudgeServer, tmp_path: Path) -> None:
    judge.otherwise = lambda _: status(400, "no such model")
    with pytest.raises(GoftError, match=r"400 .*no such model"):
        rating_scores(QUESTIONS, judged(judge, tmp_path, ANSWERS))


def test_replies_on_record_are_rated_anew(judge: JudgeServer, tmp_path: Path) -> None:
    """An earlier version may have read ratings from replies by another rule."""
    judge.otherwise = lambda _: says("<think>[[3]]</think>[[8]]")
    judged(judge, tmp_path, ANSWERS)
    file = tmp_path / "judgments.jsonl"
    file.write_text(file.read_text(encoding="utf-8").replace('"score": 8.0', '"score": 3.0'))
    asked = len(judge.seen)
    assert {row["score"] for row in judged(judge, tmp_path, ANSWERS).values()} == {8}
    assert len(judge.seen) == asked
    assert {row["score"] for row in read_judgments(str(file), file.name)} == {8}


def test_a_reply_without_a_rating_counts_as_judged(judge: JudgeServer, tmp_path: Path) -> None:
    judge.replies.append(says("I would rather not."))
    rows = judged(judge, tmp_path, ANSWERS)
    assert rows[1]["score"] == -1
    scores = rating_scores(QUESTIONS, rows)
    assert (scores["rated"], scores["failed"], scores["rating"]) == (len(ANSWERS) - 1, 1, 7)
    judged(judge, tmp_path, ANSWERS)
    assert len(judge.seen) == len(ANSWERS)


def test_so_many_are_asked_at_a_time(judge: JudgeServer, tmp_path: Path) -> None:
    together = Barrier(4, timeout=10)  # times out, and the replies fail, unless four meet

    def meet(seen: Seen) -> Reply:
        together.wait()
        return by_number(seen)

    judge.otherwise = meet
    rows = judged(judge, tmp_path, ANSWERS, concurrency=4)
    assert {number: row["score"] for number, row in rows.items()} == RATED
