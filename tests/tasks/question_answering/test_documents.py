"""SQuAD's JSON and the hub's tables give the same rows; faults are named with their place."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset

from goft_cli.system.errors import GoftError
from goft_cli.tasks.question_answering import QuestionAnswering

QaMaker = Callable[..., QuestionAnswering]
Document = dict[str, Any]
Break = Callable[[Document], object]


def write(path: Path, content: object) -> Path:
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def flat(document: Document) -> list[dict[str, Any]]:
    """Return the rows that the hub's copy of the document would have."""
    return [
        {
            "id": one["id"],
            "title": article["title"],
            "context": paragraph["context"],
            "question": one["question"],
            "answers": {
                "text": [answer["text"] for answer in one["answers"]],
                "answer_start": [answer["answer_start"] for answer in one["answers"]],
            },
        }
        for article in document["data"]
        for paragraph in article["paragraphs"]
        for one in paragraph["qas"]
    ]


def as_document(path: Path, document: Document) -> None:
    write(path.with_suffix(".json"), document)


def as_indented_document(path: Path, document: Document) -> None:
    text = json.dumps(document, indent=2, ensure_ascii=False)
    path.with_suffix(".json").write_text(f"\ufeff{text}\n\n", encoding="utf-8")


def as_official_file(path: Path, document: Document) -> None:
    write(path.with_name(f"{path.name}-v1.1.json"), document)


def as_lines(path: Path, document: Document) -> None:
    lines = [json.dumps(row) for row in flat(document)]
    path.with_suffix(".json").write_text("\n".join(lines) + "\n", encoding="utf-8")


def as_parquet(path: Path, document: Document) -> None:
    Dataset.from_list(flat(document)).to_parquet(f"{path}-00000-of-00001.parquet")


def as_saved(path: Path, document: Document) -> None:
    Dataset.from_list(flat(document)).save_to_disk(str(path))


WRITERS = [as_document, as_indented_document, as_official_file, as_lines, as_parquet, as_saved]


@pytest.mark.parametrize("writer", WRITERS)
def test_every_format_gives_the_same_rows(
    writer: Callable[[Path, Document], None],
    document: Document,
    make_task: QaMaker,
    tmp_path: Path,
) -> None:
    for name in ("train", "dev"):
        writer(tmp_path / name, document)
    splits = make_task().load().splits
    expected = [{key: row[key] for key in row if key != "title"} for row in flat(document)]
    assert splits["train"].to_list() == splits["validation"].to_list() == expected


def test_the_bytes_are_in_the_provenance(
    document: Document, make_task: QaMaker, tmp_path: Path
) -> None:
    content = write(tmp_path / "train-v1.1.json", document).read_bytes()
    write(tmp_path / "dev-v1.1.json", document)
    digests = make_task().load().provenance["sha256"]
    assert digests == dict.fromkeys(
        ["train-v1.1.json", "dev-v1.1.json"], hashlib.sha256(content).hexdigest()
    )


def test_two_versions_of_a_split_are_ambiguous(
    document: Document, make_task: QaMaker, tmp_path: Path
) -> None:
    for name in ("train-v1.1.json", "train-v2.0.json", "dev.json"):
        write(tmp_path / name, document)
    with pytest.raises(GoftError, match=r"train-v1\.1\.json.*train-v2\.0\.json"):
        make_task().load()


def first(document: Document) -> dict[str, Any]:
    return document["data"][0]["paragraphs"][0]["qas"][0]


def answer(**changes: object) -> Break:
    return lambda document: first(document)["answers"][0].update(changes)


def one(**changes: object) -> Break:
    return lambda document: first(document).update(changes)


PLACE = r"train\.json, article 1, paragraph 1, question 1 \(id q1\): "
BROKEN: dict[str, tuple[Break, str]] = {
    "data": (
        lambda d: d.update(data={"a": 1}),
        r"train\.json: no list of objects called 'data' there; expected SQuAD's format",
    ),
    "articles": (
        lambda d: d.update(data=["a"]),
        r"train\.json: no list of objects called 'data' there",
    ),
    "paragraphs": (
        lambda d: d["data"][1].pop("paragraphs"),
        r"train\.json, article 2: no list of objects called 'paragraphs' there",
    ),
    "qas": (
        lambda d: d["data"][0]["paragraphs"][1].update(qas=None),
        r"train\.json, article 1, paragraph 2: no list of objects called 'qas' there",
    ),
    "no-questions": (lambda d: d.update(data=[]), r"train\.json: no questions; expected at least"),
    "context": (
        lambda d: d["data"][0]["paragraphs"][1].pop("context"),
        r"article 1, paragraph 2, question 1: context is None, expected text",
    ),
    "question": (one(question=7), r"article 1, paragraph 1, question 1: question is 7, expected"),
    "id": (one(id=None), r"article 1, paragraph 1, question 1: id is None, expected text"),
    "twice": (
        one(id="q4"),
        r"article 2, paragraph 1, question 1: id q4 is that of .*article 1, paragraph 1, question",
    ),
    "v2": (one(answers=[]), PLACE + r"the question has no answer, as in SQuAD v2; .*drop such"),
    "answers": (one(answers=["x"]), PLACE + r"answers is \['x'\], expected text and answer_start"),
    "no-answers": (
        lambda d: first(d).pop("answers"),
        PLACE + "answers is None, expected text and answer_start for each",
    ),
    "text": (answer(text=None), PLACE + "an answer is None, expected text"),
    "blank": (answer(text=" "), PLACE + "an answer is ' ', expected text"),
    "elsewhere": (
        answer(answer_start=13),
        PLACE + r"the answer '12 km' is not at 13 in the context, which reads '2 km ' there",
    ),
    "negative": (
        answer(answer_start=-5),
        PLACE + r"answer_start of '12 km' is -5, expected a number from 0 to 70",
    ),
    "past-the-end": (answer(answer_start=71), PLACE + r"answer_start of '12 km' is 71, expected"),
    "cut-off": (answer(answer_start=68), PLACE + r"the answer '12 km' is not at 68"),
    "not-a-number": (answer(answer_start="12"), PLACE + r"answer_start of '12 km' is '12', exp"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_documents_have_their_sentence(
    case: str, document: Document, make_task: QaMaker, tmp_path: Path
) -> None:
    change, sentence = BROKEN[case]
    write(tmp_path / "dev.json", document)
    change(document)
    write(tmp_path / "train.json", document)
    with pytest.raises(GoftError, match=sentence) as caught:
        make_task().load()
    assert "\n" not in str(caught.value)


TEXTS = {
    "list": ("[1, 2]", r"train\.json: no list of objects called 'data' there"),
    "other-object": (
        '{"articles": []}',
        r"column question, context, id, answers is missing",
    ),
    "truncated": ('{"data": [{"title"', r"train\.json: not JSON \(.*\); copy the file again"),
    "bad-line": ('{"id": "a"}\n{"id": ', r"train\.json, line 2: not JSON"),
}


@pytest.mark.parametrize("case", TEXTS)
def test_files_of_another_format_have_their_sentence(
    case: str, document: Document, make_task: QaMaker, tmp_path: Path
) -> None:
    content, sentence = TEXTS[case]
    write(tmp_path / "dev.json", document)
    (tmp_path / "train.json").write_text(content)
    with pytest.raises(GoftError, match=sentence):
        make_task().load()


@pytest.mark.parametrize(
    ("answers", "sentence"),
    [
        ({"text": [], "answer_start": []}, "the question has no answer"),
        ({"text": ["a", "b"], "answer_start": [0]}, "answers is .*'b'.*, expected text and answer"),
        ({"text": ["a"]}, "answers is .*, expected text and answer_start for each"),
        ("Zürich", "answers is 'Zürich', expected text and answer_start for each"),
    ],
)
def test_rows_of_a_table_are_named_by_line(
    answers: object, sentence: str, document: Document, make_task: QaMaker, tmp_path: Path
) -> None:
    rows = flat(document)
    rows[2]["answers"] = answers
    (tmp_path / "train.jsonl").write_text("\n".join(map(json.dumps, rows)))
    write(tmp_path / "dev.json", document)
    with pytest.raises(GoftError, match=rf"train\.jsonl, line 3 \(id q3\): {sentence}"):
        make_task().load()


@pytest.mark.parametrize("kept", [("id", "question", "context"), ("question", "context")])
def test_a_table_to_predict_on_needs_no_answers_and_no_ids(
    kept: tuple[str, ...], document: Document, make_task: QaMaker, tmp_path: Path
) -> None:
    path = tmp_path / "new.jsonl"
    rows = [{key: row[key] for key in kept} for row in flat(document)]
    path.write_text("\n".join(map(json.dumps, rows)))
    found = make_task().read(path).to_list()
    assert found == [{key: row[key] for key in ("question", "context")} for row in rows]


def test_a_document_to_predict_on_keeps_what_it_has(
    document: Document, make_task: QaMaker, tmp_path: Path
) -> None:
    first(document)["answers"] = []
    task = make_task()
    table = task.read_table(write(tmp_path / "new.json", document))
    assert [*table.columns] == ["id", "title", "context", "question", "answers"]
    assert table.columns["id"] == ["q1", "q2", "q3", "q4"]
    assert task.unlabelled(table).column_names == ["question", "context"]


def test_a_single_row_is_a_file_too(make_task: QaMaker, tmp_path: Path) -> None:
    row = {"question": "What?", "context": "A town."}
    assert make_task().read(write(tmp_path / "new.json", row)).to_list() == [row]


def test_a_text_alone_is_no_question(make_task: QaMaker) -> None:
    with pytest.raises(GoftError, match=r"made-up .*question and context.*input=FILE"):
        make_task().read_text("What?")
