"""MMLU's questions are read from csv files, the hub's columns, and as the legacy loader does."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pandas as pd
import pytest
from datasets import ClassLabel, Dataset

from goft_cli.system.errors import GoftError
from goft_cli.tasks.families import build_benchmark
from goft_cli.tasks.mmlu.questions import Question, by_subject
from tests.support.multiple_choice import (
    DEV_ROWS,
    SUBJECTS,
    config,
    made_up,
    write_folder,
    write_rows,
)

GOOD = ["Is it?", "no", "perhaps", "yes, but", 'the "other"', "B"]


def questions(rows: Dataset) -> list[Question]:
    return [Question(**row) for row in rows.to_list()]


def test_the_csv_folder_is_read_in_the_order_of_its_files(tmp_path: Path) -> None:
    folder = write_folder(tmp_path)
    data = build_benchmark(config("mmlu/full", data_dir=str(folder))).load()
    found = by_subject(questions(data.splits["test"]))
    assert {name: len(rows) for name, rows in found.items()} == SUBJECTS
    for subject, rows in found.items():
        expected = [made_up(subject, DEV_ROWS + index) for index in range(len(rows))]
        assert [[q.question, *q.choices, "ABCD"[q.answer]] for q in rows] == expected
    path = "test/anatomy_test.csv"
    assert (
        data.provenance["sha256"][path] == hashlib.sha256((folder / path).read_bytes()).hexdigest()
    )
    assert data.size_deviations({"dev": 285, "test": 17}) == {"dev": (15, 285)}


def test_commas_quotes_and_line_breaks_belong_to_the_text(tmp_path: Path) -> None:
    row = ["Line one,\nline two", "a, b", '"c"', "", " d ", "C"]
    write_rows(tmp_path / "dev" / "anatomy_dev.csv", [GOOD])
    write_rows(tmp_path / "test" / "anatomy_test.csv", [row])
    data = build_benchmark(config("mmlu/full", data_dir=str(tmp_path), shots=[1])).load()
    assert questions(data.splits["test"]) == [Question("anatomy", row[0], row[1:5], 2)]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("Is it?,no,perhaps,yes,B", r"found 5 fields, expected 6"),
        ("Is it?,no,perhaps,yes,never,maybe,B", r"found 7 fields, expected 6"),
        ("Is it?,no,perhaps,yes,never,AB", r"the answer is 'AB', expected one of A, B, C, D"),
        ("Is it?,no,perhaps,yes,never,E", r"the answer is 'E', expected one of A, B, C, D"),
        ("Is it?,no,perhaps,yes,never,", r"the answer is '', expected one of A, B, C, D"),
    ],
)
@pytest.mark.parametrize("place", [1, 2])
def test_a_malformed_row_is_named_by_file_and_line(
    line: str, message: str, place: int, tmp_path: Path
) -> None:
    folder = write_folder(tmp_path)
    path = folder / "test" / "anatomy_test.csv"
    lines = path.read_text().splitlines()
    lines.insert(place - 1, line)
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(GoftError, match=rf"test/anatomy_test\.csv, line {place}: {message}"):
        build_benchmark(config("mmlu/full", data_dir=str(folder))).load()


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    folder = write_folder(tmp_path)
    (folder / "dev" / "anatomy_dev.csv").unlink()
    benchmark = build_benchmark(config("mmlu/full", data_dir=str(folder)))
    with pytest.raises(GoftError, match=r"dev .*0 .*5 .*anatomy.*shots=0"):
        benchmark.load()
    build_benchmark(config("mmlu/full", data_dir=str(folder), shots=[0])).load()
    (folder / "test" / "sociology_test.csv").write_text("")
    with pytest.raises(GoftError, match=r"sociology_test\.csv is empty"):
        benchmark.load()
    (tmp_path / "bare" / "test").mkdir(parents=True)
    with pytest.raises(GoftError, match=r"dev/anatomy_dev\.csv"):
        build_benchmark(config("mmlu/full", data_dir=str(tmp_path / "bare"))).load()


def test_no_question_is_left(tmp_path: Path) -> None:
    for split in ("dev", "test"):
        write_rows(tmp_path / split / f"anatomy_{split}.csv", [GOOD])
    with pytest.raises(GoftError, match=r"no questions in test; .*two"):
        build_benchmark(config("mmlu/legacy", data_dir=str(tmp_path))).load()
    data = build_benchmark(config("mmlu/full", data_dir=str(tmp_path), shots=[1])).load()
    for split, rows in data.splits.items():
        rows.select([]).to_parquet(str(tmp_path / f"{split}.parquet"))
        (tmp_path / split / f"anatomy_{split}.csv").unlink()
        (tmp_path / split).rmdir()
    with pytest.raises(GoftError, match=r"no questions in test"):
        build_benchmark(config("mmlu/full", data_dir=str(tmp_path))).load()


def test_the_columns_of_the_hub_give_the_same_questions(tmp_path: Path) -> None:
    csv_folder, parquet = write_folder(tmp_path / "csv"), tmp_path / "parquet"
    parquet.mkdir()
    from_csv = build_benchmark(config("mmlu/full", data_dir=str(csv_folder))).load()
    for name, rows in from_csv.splits.items():
        rows.to_parquet(str(parquet / f"{name}-00000-of-00001.parquet"))
    from_hub = build_benchmark(config("mmlu/full", data_dir=str(parquet))).load()
    assert {name: rows.to_list() for name, rows in from_hub.splits.items()} == {
        name: rows.to_list() for name, rows in from_csv.splits.items()
    }


def test_an_answer_is_the_letter_that_it_names(tmp_path: Path) -> None:
    fields = {"subject": ["s"] * 2, "question": ["?"] * 2, "choices": [list("abcd")] * 2}
    spelled = Dataset.from_dict(fields | {"answer": [" B", "1.0"]})
    reordered = Dataset.from_dict(fields | {"answer": [2, 2]}).cast_column(
        "answer", ClassLabel(names=list("DCBA"))
    )
    for split, rows in {"dev": spelled, "test": reordered}.items():
        rows.to_parquet(str(tmp_path / f"{split}.parquet"))
    benchmark = build_benchmark(config("mmlu/full", data_dir=str(tmp_path), shots=[2]))
    for rows in benchmark.load().splits.values():
        assert list(rows["answer"]) == [1, 1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"choices": [["a", "b", "c"]]},
            r"row 1: expected the texts of a subject, a question and 4",
        ),
        ({"answer": [4]}, r"row 1: the answer is 4, expected one of A, B, C, D"),
        ({"question": [None]}, r"row 1: expected the texts of a subject"),
        ({"subject": None}, r"column subject is missing; found 'question', 'choices', 'answer'"),
    ],
)
def test_rows_of_another_form_are_refused(
    change: dict[str, list[object] | None], message: str, tmp_path: Path
) -> None:
    good = {
        "subject": ["anatomy"],
        "question": ["?"],
        "choices": [["a", "b", "c", "d"]],
        "answer": [1],
    }
    columns = {key: value for key, value in {**good, **change}.items() if value is not None}
    pd.DataFrame(good).to_parquet(tmp_path / "dev.parquet")
    pd.DataFrame(columns).to_parquet(tmp_path / "test.parquet")
    with pytest.raises(GoftError, match=message):
        build_benchmark(config("mmlu/full", data_dir=str(tmp_path))).load()


def test_the_legacy_loader_drops_the_first_row_of_every_file(tmp_path: Path) -> None:
    folder = str(write_folder(tmp_path))
    whole = build_benchmark(config("mmlu/full", data_dir=folder)).load()
    legacy = build_benchmark(config("mmlu/legacy", data_dir=folder)).load()
    for split in ("dev", "test"):
        kept = by_subject(questions(legacy.splits[split]))
        for subject, rows in by_subject(questions(whole.splits[split])).items():
            assert kept[subject] == rows[1:]


def test_the_legacy_loader_reads_cells_as_pandas_does(tmp_path: Path) -> None:
    header = ["lost", "x", "y", "z", "w", "A"]
    rows = [["None of these?", "None", "0.50", "1", "7", "D"], ["q", "N/A", "2", "x", "08", "A"]]
    for split in ("dev", "test"):
        write_rows(tmp_path / split / f"anatomy_{split}.csv", [header, *rows])
    data = build_benchmark(config("mmlu/legacy", data_dir=str(tmp_path))).load()
    frame = pd.read_csv(tmp_path / "test" / "anatomy_test.csv")  # the first row as a header
    expected = [[str(cell) for cell in row[:5]] for row in frame.itertuples(index=False)]
    found = questions(data.splits["test"])
    assert [[q.question, *q.choices] for q in found] == expected
    assert [q.choices for q in found] == [["nan", "0.5", "1", "7"], ["nan", "2.0", "x", "8"]]
