"""From judgments to numbers: mean rating, and questions won, tied and lost against another run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean

from goft_cli.system.errors import GoftError
from goft_cli.tasks.vicuna.judging import UNRATED, parse_rating
from goft_cli.tasks.vicuna.questions import Question
from goft_cli.tasks.vicuna.records import Row, read_rows

# FastChat's TIE_DELTA (llm_judge/common.py); whole ratings never come so close.
TIE_DELTA = 0.1

Ratings = Mapping[int, float]


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
            found = ratings[question.question_id]
            by_category.setdefault(question.category, []).append(found)
    means = {
        f"rating_{category.replace('-', '_')}": fmean(found)
        for category, found in by_category.items()
    }
    counts = {"rated": len(ratings), "failed": len(judgments) - len(ratings)}
    return {"rating": fmean(ratings.values()), **means, **counts}


def comparison_scores(ours: Ratings, theirs: Ratings) -> dict[str, float]:
    """Count questions by who has the higher rating, over those that both have a rating of."""
    differences = [ours[number] - theirs[number] for number in ours if number in theirs]
    return {
        "win": sum(difference > TIE_DELTA for difference in differences),
        "tie": sum(abs(difference) <= TIE_DELTA for difference in differences),
        "lose": sum(difference < -TIE_DELTA for difference in differences),
    }


def rated(judgments: Mapping[int, Row]) -> dict[int, float]:
    """Return the ratings there are, by question number."""
    return {
        number: float(row["score"]) for number, row in judgments.items() if row["score"] != UNRATED
    }


def read_judgments(path: str, name: str) -> list[Row]:
    """Read the judgments of another run, ours or FastChat's.

    Args:
        path: the file, or a folder with a file of this name.
        name: what the file is called in the folder.
    """
    place = Path(path).expanduser()
    file = place / name if place.is_dir() else place
    rows = read_rows(str(file), wanted=("question_id", "judge", "user_prompt", "score"))
    return [rated_anew(row) for row in rows]


def rated_anew(row: Row) -> Row:
    """Rate the reply in a judgment by our rule, so that both runs are rated alike."""
    reply = row.get("judgment")
    return {**row, "score": parse_rating(reply)} if isinstance(reply, str) else row


def opponent_ratings(
    rows: Sequence[Row], questions: Sequence[Question], ours: Mapping[int, Row], path: str
) -> dict[int, float]:
    """Take of another run's judgments those by the same judge, prompt and question as ours."""
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
            "judge both runs alike",
        )
    return rated(same)
