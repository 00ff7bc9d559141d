"""Questions with four answers: from the hub's rows, or the original csv files without a header."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from datasets import Dataset

from goft_cli.config import MMLUConfig
from goft_cli.config.labels import Labels
from goft_cli.data.files import SAVED, read_content
from goft_cli.data.formats import Layout, parse
from goft_cli.data.sources import read_splits
from goft_cli.data.table import Table, require_columns
from goft_cli.system.errors import GoftError
from goft_cli.tasks.base import TaskData
from goft_cli.tasks.mmlu.legacy import as_pandas_reads

LETTERS = "ABCD"
ANSWERS = Labels(LETTERS)
FIELDS = ("subject", "question", "choices", "answer")
# The benchmark's csv files; a row's subject is in the name of its file.
CSV = Layout(raw_columns=["question", *LETTERS, "answer"])

BySplit = dict[str, list["Question"]]


@dataclass(frozen=True)
class Question:
    """One question; `answer` is the place of the right one among the four choices."""

    subject: str
    question: str
    choices: Sequence[str]
    answer: int


def read_questions(config: MMLUConfig) -> TaskData:
    """Read the exemplars and the questions."""
    names = [config.train_split, config.headline_split]
    folder = Path(config.data_dir).expanduser() if config.data_dir else None
    if folder and has_tables(folder / config.headline_split):
        found, provenance = _read_csv_folder(folder, names)
    else:
        tables, provenance = read_splits(
            config.dataset, names, data_dir=config.data_dir, layout=Layout()
        )
        found = {name: list(_questions(table)) for name, table in tables.items()}
    kept = {name: _as_loaded(questions, config) for name, questions in found.items()}
    if not kept[config.headline_split]:
        split = config.headline_split
        least = "two of a subject, whose first is dropped" if config.drop_first_rows else "one"
        raise GoftError(
            f"task {config.name}: no questions in {split}",
            f"expected at least {least}",
        )
    splits = {name: Dataset.from_list(list(map(asdict, rows))) for name, rows in kept.items()}
    return TaskData(splits, provenance)


def has_tables(split: Path) -> bool:
    """Tell a split's folder of csv files from one that `save_to_disk` wrote."""
    return split.is_dir() and not (split / SAVED).is_file()


def without_blanks(question: Question) -> Question:
    """Return the question with no blanks, tabs or line breaks at the ends of its own text."""
    return replace(question, question=question.question.strip())


def by_subject(questions: Iterable[Question]) -> dict[str, list[Question]]:
    """Return the questions of each subject in their order, subjects in that of the alphabet."""
    subjects: dict[str, list[Question]] = {}
    for question in questions:
        subjects.setdefault(question.subject, []).append(question)
    return dict(sorted(subjects.items()))


def _as_loaded(questions: Iterable[Question], config: MMLUConfig) -> list[Question]:
    """Return what the protocol's loader hands on."""
    kept: list[Question] = []
    for rows in by_subject(questions).values():
        left = rows[1:] if config.drop_first_rows else rows
        read = as_pandas_reads(left) if config.pandas_cells else left
        kept += map(without_blanks, read) if config.strip_questions else read
    return kept


def _read_csv_folder(folder: Path, splits: Sequence[str]) -> tuple[BySplit, dict[str, Any]]:
    """Read `SPLIT/SUBJECT_SPLIT.csv` of every subject there is."""
    found: BySplit = {split: [] for split in splits}
    sha256: dict[str, str] = {}
    for split in splits:
        for path in sorted((folder / split).glob(f"*_{split}.csv")):
            content, sha256[path.relative_to(folder).as_posix()] = read_content(path)
            subject = path.stem.removesuffix(f"_{split}")
            found[split] += _questions(_with_subject(parse(content, path, CSV), subject))
        if not found[split]:
            raise GoftError(
                f"task.data_dir={folder}: no questions in {split}",
                f"expected files such as {split}/anatomy_{split}.csv",
            )
    return found, {"source": str(folder.resolve()), "sha256": sha256}


def _with_subject(table: Table, subject: str) -> Table:
    """Give the columns of a csv file the names that they have on the hub."""
    question, *options, answer = map(list, table.columns.values())
    choices = [list(texts) for texts in zip(*options, strict=True)]
    columns = ([subject] * len(question), question, choices, answer)
    return Table(table.origin, dict(zip(FIELDS, columns, strict=True)), table.lines)


def _questions(table: Table) -> Iterator[Question]:
    require_columns(table, FIELDS, "rename the columns, or pass the benchmark's csv files")
    for index, values in enumerate(zip(*map(table.named, FIELDS), strict=True)):
        yield _checked(*values, place=table.place(index))


def _checked(subject: Any, question: Any, choices: Any, answer: Any, *, place: str) -> Question:  # noqa: ANN401
    """Check one row; the answer is a letter, or its place counted from 0."""
    texts = [subject, question, *(choices if isinstance(choices, list) else [])]
    if len(texts) != 2 + len(LETTERS) or not all(isinstance(text, str) for text in texts):
        raise GoftError(
            f"{place}: expected the texts of a subject, a question and {len(LETTERS)} choices, "
            f"found {texts}",
            "correct the row",
        )
    right = ANSWERS.id_of(answer)
    if right is None:
        raise GoftError(
            f"{place}: the answer is {answer!r}, expected one of {', '.join(LETTERS)}",
            "correct the row",
        )
    return Question(subject, question, choices, right)
