"""Ratings of the judge: requests, ratings in replies, means, and comparison with another run."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from rich.progress import track

from goft_cli.system.errors import GoftError
from goft_cli.system.screen import console
from goft_cli.tasks.vicuna.client import ChatClient, RefusedRequestError, UnusableReplyError
from goft_cli.tasks.vicuna.questions import Question, Records, Row, json_digest, read_rows
from goft_cli.tasks.vicuna.rubric import Messages, Rubric

logger = logging.getLogger(__name__)

Ratings = Mapping[int, float]

UNRATED = -1.0
LOWEST, HIGHEST = 1, 10
RATING = re.compile(r"\[\[(\d+\.?\d*)\]\]", re.ASCII)  # FastChat's pattern (llm_judge/common.py)
THOUGHT = re.compile(r"<think>.*?(</think>|\Z)", re.DOTALL)
TIE_DELTA = 0.1  # FastChat's (llm_judge/common.py); whole ratings never come so close


@dataclass(frozen=True)
class Request:
    """One answer to be rated; the digest is of the judge, the prompt's name and every message."""

    question_id: int
    prompt: str
    messages: Messages
    digest: str


def parse_rating(reply: str) -> float:
    """Return the last `[[number]]` outside a reply's reasoning; -1 if none is from 1 to 10.

    FastChat takes the first one, of any size, or else a number in single brackets: for a judge that
    reasons, this may be a draft, the scale or a footnote.
    """
    numbers = RATING.findall(without_reasoning(reply))
    rating = float(numbers[-1]) if numbers else UNRATED
    return rating if LOWEST <= rating <= HIGHEST else UNRATED


def without_reasoning(reply: str) -> str:
    """Return a reply without its reasoning: text between tags, or after an unclosed tag.

    A chat template may have opened the tag, so text before a single `</think>` is removed too.
    """
    return THOUGHT.sub("", reply).rpartition("</think>")[2]


def make_requests(
    questions: Sequence[Question], answers: Mapping[int, str], rubric: Rubric, judge_model: str
) -> list[Request]:
    """Make the requests, without those of questions that the rubric skips."""
    requests = []
    for question in questions:
        prompt = rubric.prompt_for(question)
        if prompt is None:
            continue
        number = question.question_id
        reference = rubric.references.get(number)
        messages = prompt.messages(question.text, answers[number], reference)
        digest = json_digest([judge_model, prompt.name, number, messages])
        requests.append(Request(number, prompt.name, messages, digest))
    return requests


def judge_answers(
    requests: Sequence[Request], client: ChatClient, records: Records, model_id: str
) -> dict[int, Row]:
    """Return the judgment of every question; missing ones are requested and added to `records`.

    A request that the judge refuses, or that gets no usable reply, is recorded with its error and a
    rating of -1, and repeated in the next run.
    """
    known = {
        row["request_sha256"]: {**row, "score": parse_rating(row["judgment"])}
        for row in records.read()
        if row.get("error", "") is None
    }

    def ask(request: Request) -> Row:
        try:
            reply, error = client.complete(request.messages), None
        except (RefusedRequestError, UnusableReplyError) as fault:
            reply, error = "", str(fault)
            logger.warning("question %s is unrated: %s", request.question_id, error)
        row = as_row(request, reply, error, client.judge.model, model_id)
        records.append(row)
        return row

    pending = [request for request in requests if request.digest not in known]
    with ThreadPoolExecutor(client.judge.concurrency) as pool:
        futures = [pool.submit(ask, request) for request in pending]
        done = track(
            as_completed(futures),
            "judgments",
            total=len(futures),
            console=console,
            disable=not console.is_terminal,
        )
        try:
            rows = [future.result() for future in done]
        except BaseException:
            client.retries.stop()
            pool.shutdown(cancel_futures=True)
            raise
    known |= {row["request_sha256"]: row for row in rows}
    return {request.question_id: known[request.digest] for request in requests}


def as_row(request: Request, reply: str, error: str | None, judge_model: str, model_id: str) -> Row:
    """Return a judgment in FastChat's format, without the time, plus what resuming needs."""
    return {
        "question_id": request.question_id,
        "model": model_id,
        "judge": [judge_model, request.prompt],
        "user_prompt": request.messages[-1]["content"],
        "judgment": reply,
        "score": parse_rating(reply),
        "turn": 1,
        "request_sha256": request.digest,
        "error": error,
    }


def rating_scores(questions: Sequence[Question], judgments: Mapping[int, Row]) -> dict[str, float]:
    """Return the mean rating, of all and by category, and how many answers have one.

    Answers without a rating are left out of the means, as FastChat's show_result does.
    """
    ratings = rated(judgments)
    if not ratings:
        faults = [row["error"] for row in judgments.values() if row.get("error")]
        if faults:
            raise GoftError(f"the judge rated none of {len(judgments)} answers: {faults[0]}")
        raise GoftError(
            f"the judge gave none of {len(judgments)} answers a rating such as [[7]]",
            "read its replies in the file of judgments, or choose another task.judge.model",
        )
    by_category: dict[str, list[float]] = {}
    for question in questions:
        if question.question_id in ratings:
            found = by_category.setdefault(question.category, [])
            found.append(ratings[question.question_id])
    means = {
        f"rating_{category.replace('-', '_')}": fmean(found)
        for category, found in by_category.items()
    }
    counts = {"rated": len(ratings), "failed": len(judgments) - len(ratings)}
    return {"rating": fmean(ratings.values()), **means, **counts}


def comparison_scores(ours: Ratings, theirs: Ratings) -> dict[str, float]:
    """Count won, tied and lost questions, over those that both runs have ratings for."""
    differences = [ours[number] - theirs[number] for number in ours if number in theirs]
    return {
        "win": sum(difference > TIE_DELTA for difference in differences),
        "tie": sum(abs(difference) <= TIE_DELTA for difference in differences),
        "lose": sum(difference < -TIE_DELTA for difference in differences),
    }


def rated(judgments: Mapping[int, Row]) -> dict[int, float]:
    """Return the existing ratings by question number."""
    return {
        number: float(row["score"]) for number, row in judgments.items() if row["score"] != UNRATED
    }


def read_judgments(path: str, name: str) -> list[Row]:
    """Read the judgments of another run, ours or FastChat's: a file, or one in a folder by `name`.

    `parse_rating` reads each reply, so that both runs are rated by the same rule.
    """
    place = Path(path).expanduser()
    file = place / name if place.is_dir() else place
    rows = read_rows(str(file), wanted=("question_id", "judge", "user_prompt", "score"))
    for row in rows:
        if isinstance(row.get("judgment"), str):
            row["score"] = parse_rating(row["judgment"])
    return rows


def opponent_ratings(
    rows: Sequence[Row], questions: Sequence[Question], ours: Mapping[int, Row], path: str
) -> dict[int, float]:
    """Return another run's ratings with the same judge, prompt and question as ours."""
    texts = {question.question_id: question.text for question in questions}
    same = {
        row["question_id"]: row
        for row in rows
        if row["question_id"] in ours
        and list(row["judge"]) == ours[row["question_id"]]["judge"]
        and texts[row["question_id"]] in row["user_prompt"]
    }
    if not same:
        judges = sorted({" with ".join(map(str, row["judge"])) for row in rows})
        wanted = sorted({" with ".join(row["judge"]) for row in ours.values()})
        raise GoftError(
            f"task.against={path}: no judgment of these questions by {', '.join(wanted)}; found "
            f"{', '.join(judges)}",
            "judge both runs with the same model and prompts",
        )
    return rated(same)
